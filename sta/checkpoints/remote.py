"""Checkpoints at https:// addresses and in object storage, opened at a byte offset.

No message contains a credential: of an address only scheme, host and path are shown, of a response
only its status.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from sta.errors import CheckpointError
from sta.text import holds_secret, redacted
from sta.transport.object_address import is_object, is_web, object_address
from sta.transport.objects import open_object
from sta.transport.responses import ObjectResponse, StoreError
from sta.transport.retry import CHECKPOINTS
from sta.transport.store import server_of
from sta.transport.web import names_this_machine, private_hosts_allowed

# Downloads repeat requests themselves.
_ONE_ATTEMPT = replace(CHECKPOINTS, max_failures=1)


class TransientError(Exception):
    """The network or the server failed in a way that may pass; worth another attempt."""


class ChangedError(Exception):
    """The object was replaced since its first bytes were read."""


@dataclass(frozen=True)
class Remote:
    """An object at an address.

    Attributes:
        shown: the address without credentials, for messages.
        identity: digest that identifies the object in the cache.
        open: opens the object at a byte offset of a version; the server may send another offset or
            version. It raises TransientError, ChangedError or CheckpointError, as iterating over
            the response's chunks does.
        server: returns the address of the server; "" if it is not known.
    """

    shown: str
    identity: str
    open: Callable[[int, str], ObjectResponse]
    server: Callable[[], str]


def remote(address: str) -> Remote:
    """The object at an https:// address or in object storage (http:// of this machine alone).

    Raises:
        CheckpointError: the address is not supported; the message names the forms that are.
    """
    if is_object(address):
        place = object_address(address)
        if not place.container or not place.key or place.key.endswith("/"):
            raise CheckpointError(f"{address} names no object: write {place.scheme}://bucket/key")
        return Remote(
            address, _digest(address), _opener(address, address), lambda: server_of(place)
        )
    shown = without_secrets(address)
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise CheckpointError(f"{shown} is no valid address") from None
    if parts.username or parts.password:
        raise CheckpointError(f"{shown} was given with a user or password; use a presigned address")
    if not is_web(address):
        raise CheckpointError(f"{shown} cannot be downloaded; use https:// or s3://bucket/key")
    encrypted = parts.scheme.lower() == "https" or private_hosts_allowed()
    if not encrypted and not names_this_machine(parts.hostname or ""):
        raise CheckpointError(f"{shown} is not encrypted; use https:// (http:// only of localhost)")
    # A signed query differs each time for the same object and is left out; any other query is part
    # of the identity.
    identity = shown if holds_secret(address) else f"{shown}?{parts.query}"
    server = f"{parts.scheme}://{parts.netloc}"
    return Remote(shown, _digest(identity), _opener(address, shown), lambda: server)


def without_secrets(address: str) -> str:
    """A source as it may be shown and stored: without user, query and fragment of a web address."""
    scheme, mark, rest = address.partition("://")
    if not mark or is_object(f"{scheme.lower()}://"):
        return redacted(address)
    for mark in "?#":
        rest = rest.partition(mark)[0]
    host, slash, path = rest.partition("/")
    return redacted(f"{scheme.lower()}://{host.rpartition('@')[2]}{slash}{path}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _opener(address: str, shown: str) -> Callable[[int, str], ObjectResponse]:
    def opened(start: int, version: str) -> ObjectResponse:
        with _named(shown):
            # The address that the user named may be of this machine; a redirect may not.
            found = open_object(
                address,
                start=start,
                etag=version or None,
                policy=_ONE_ATTEMPT,
                own_machine=True,
            )
        return replace(found, chunks=_chunks(found, shown))

    return opened


def _chunks(found: ObjectResponse, shown: str) -> Iterator[bytes]:
    with _named(shown):
        yield from found.chunks


@contextmanager
def _named(shown: str) -> Iterator[None]:
    """Raises a StoreError as the error that a download acts on."""
    try:
        yield
    except StoreError as error:
        if error.kind == "transient":
            raise TransientError(error.reason) from None
        if error.kind == "changed":
            raise ChangedError from None
        raise CheckpointError(f"cannot download {shown}: {error.reason}") from None
