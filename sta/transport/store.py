"""Objects at s3://, gs://, az:// and https:// addresses: one transport for all packages.

obstore carries every request to S3, Google Cloud Storage and Azure; `sta.transport.web` carries
https://. Both are imported when the first object is opened. A process builds one store per bucket
and set of timeouts, from the environment of that process, and never pickles a store: a pickle would
contain the credentials.

Errors are `StoreError`, see `obstore_errors`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import IO, Any

from sta.transport.obstore_errors import store_error
from sta.transport.responses import ObjectResponse, StoreError
from sta.transport.retry import Retries, RetryPolicy

OBJECT_SCHEMES = ("s3://", "gs://", "az://", "abfss://")
"""Schemes of object storage, which can be listed and written to."""
WEB_SCHEMES = ("https://", "http://")
"""Schemes of web servers, of which single objects are read."""

# obstore limits a whole request, body included, to 30 s; the read timeout and `Retries` limit it
# here, so this is only the last resort.
_REQUEST_LIMIT = timedelta(days=1)
# Repeated requests keep their signature, which a server accepts for some minutes.
_RETRY_LIMIT = timedelta(minutes=5)

# A larger object is uploaded in parts of this size.
_PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 4

# Keys that obstore cannot name: with an empty part, a part "." or "..", or a control character.
UNUSUAL_KEY = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f]")

_ENVIRONMENT = ("AWS_", "GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_EMULATOR_HOST", "SSL_CERT_FILE")


@dataclass(frozen=True)
class ObjectAddress:
    """The parts of an object's address.

    Attributes:
        scheme: such as "s3".
        container: bucket, or Azure container, with the account if the address names one:
            container@account.dfs.core.windows.net.
        key: name within the container, as it stands; "" for the container itself.
    """

    scheme: str
    container: str
    key: str


def is_object(uri: str) -> bool:
    """Whether an address is an object in object storage."""
    return uri.startswith(OBJECT_SCHEMES)


def is_web(uri: str) -> bool:
    """Whether an address is an https:// or http:// one."""
    return uri[:8].lower().startswith(WEB_SCHEMES)


def is_remote(uri: str) -> bool:
    """Whether an address is not a local file."""
    return is_object(uri) or is_web(uri)


def object_address(uri: str) -> ObjectAddress:
    """The parts of an address with one of `OBJECT_SCHEMES`."""
    scheme, _, rest = uri.partition("://")
    container, _, key = rest.partition("/")
    return ObjectAddress(scheme, container, key)


def quoted(etag: str | None) -> str | None:
    """An ETag in quotes, without which Azure lists it and users may name it."""
    return etag if not etag or etag.startswith(('"', "W/")) else f'"{etag}"'


def open_object(
    uri: str,
    *,
    start: int = 0,
    end: int | None = None,
    etag: str | None = None,
    policy: RetryPolicy,
    private_hosts: bool = False,
    own_machine: bool = False,
) -> ObjectResponse:
    """Opens an object for reading with one request.

    Args:
        uri: the address.
        start: first byte; a web server without ranges sends the object from 0 on.
        end: byte after the last one; None for all.
        etag: required ETag or version; None for any.
        policy: timeouts, and attempts where `max_failures` is set.
        private_hosts: whether web servers may have private addresses.
        own_machine: whether a web address may be of this machine, as `web.open_web` says.

    Raises:
        StoreError: the object cannot be read.
    """
    if is_web(uri):
        from sta.transport import web

        return web.open_web(
            uri,
            start=start,
            end=end,
            version=etag,
            policy=policy,
            private_hosts=private_hosts,
            own_machine=own_machine,
        )
    address = object_address(uri)
    if not address.container or not address.key or address.key.endswith("/"):
        raise StoreError(f"an object's address is {address.scheme}://bucket/key", "not_found")
    if UNUSUAL_KEY.search(address.key):
        return _open_unusual(address, start, end, etag, policy)
    options: dict[str, Any] = {}
    if etag:
        options["if_match"] = quoted(etag)
    if end is not None:
        options["range"] = (start, end)
    elif start:
        options["range"] = {"offset": start}
    store = store_of(address, policy)
    try:
        found = store.get(address.key, options=options)
    except Exception as error:
        raise store_error(error) from None
    return ObjectResponse(
        start=found.range[0],
        size=int(found.meta["size"]),
        etag=quoted(found.meta["e_tag"]),
        chunks=_chunks(found),
        partial=True,
        close=lambda: None,
    )


def _open_unusual(
    address: ObjectAddress, start: int, end: int | None, etag: str | None, policy: RetryPolicy
) -> ObjectResponse:
    """Opens an object whose key obstore cannot name, at an address that botocore signs."""
    if address.scheme != "s3":
        raise StoreError(
            "names with an empty part, a part . or .., or a control character can be read of "
            "s3:// alone; rename the object",
            "not_found",
        )
    from sta.transport import aws, web

    signed = aws.signed_address(address.container, address.key)
    return web.open_web(
        signed, start=start, end=end, version=quoted(etag), policy=policy, trusted=True
    )


def _chunks(found: Any) -> Iterator[bytes]:
    try:
        # Chunks as they arrive, so that none is lost if the connection breaks.
        yield from found.stream(min_chunk_size=1)
    except GeneratorExit:
        raise
    except Exception as error:
        raise store_error(error) from None


@dataclass(frozen=True)
class ObjectBytes:
    """Bytes of an object.

    Attributes:
        data: the bytes.
        size: bytes of the whole object.
        etag: its ETag.
    """

    data: bytes
    size: int
    etag: str | None


def read_object(
    uri: str,
    *,
    start: int = 0,
    end: int | None = None,
    etag: str | None = None,
    policy: RetryPolicy,
) -> ObjectBytes:
    """Reads bytes of one version of an object; a broken download is resumed.

    Args:
        uri: the address.
        start: first byte.
        end: byte after the last one; None for all.
        etag: required ETag; None for any.
        policy: time and attempts.

    Raises:
        StoreError: the bytes cannot be read.
    """
    # The store itself repeats requests that fail; this repeats those whose bodies break off.
    retries, data = Retries(policy), bytearray()
    with retries.running():
        while True:
            try:
                begin = start + len(data)
                found = open_object(uri, start=begin, end=end, etag=etag, policy=policy)
            except StoreError as error:
                if error.status == 416 and not start and not data:
                    return ObjectBytes(b"", 0, None)  # an empty object has no first byte
                raise
            etag = found.etag
            wanted = min(found.size if end is None else end, found.size) - start
            skip = begin - found.start  # what a web server without ranges sends before
            try:
                for chunk in found.chunks:
                    data += chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    retries.progressed()
                    if len(data) >= wanted:
                        return ObjectBytes(bytes(data[:wanted]), found.size, etag)
                if not wanted:
                    return ObjectBytes(b"", found.size, etag)
                raise StoreError("the object did not come whole", "transient", "cut off")
            except StoreError as error:
                if error.kind != "transient" or not retries.wait():
                    raise
            finally:
                found.close()


def asked(request: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a method of an obstore store; its exceptions as StoreError."""
    try:
        return request(*arguments)
    except Exception as error:
        raise store_error(error) from None


def write_object(uri: str, file: IO[bytes], policy: RetryPolicy) -> None:
    """Writes an object with the content of a file, which appears whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    address, retries = object_address(uri), Retries(policy)
    size = file.seek(0, os.SEEK_END)
    with retries.running():
        while True:
            file.seek(0)
            content = file if size > _PART_BYTES else file.read()
            try:
                asked(
                    lambda content=content: store_of(address, policy).put(
                        address.key,
                        content,
                        use_multipart=size > _PART_BYTES,
                        chunk_size=_PART_BYTES,
                        max_concurrency=_PARTS_AT_ONCE,
                    )
                )
                return
            except StoreError as error:
                # The store itself repeats requests that fail, but not those whose answer breaks
                # off.
                if error.code != "connection broken" or not retries.wait():
                    raise


def create_object(uri: str, content: bytes, policy: RetryPolicy) -> bool:
    """Writes an object unless it exists; returns whether it was written.

    Raises:
        StoreError: it cannot be written.
    """
    address = object_address(uri)
    bucket = store_of(address, policy)
    try:
        bucket.put(address.key, content, mode="create", use_multipart=False)
    except Exception as error:
        found = store_error(error)
        if found.kind == "changed" or found.status == 409:
            return False
        raise found from None
    return True


def store_of(address: ObjectAddress, policy: RetryPolicy) -> Any:
    """This process's obstore store of a bucket or container.

    Raises:
        StoreError: there are no credentials, or the settings are invalid.
    """
    if f"{address.scheme}://" not in OBJECT_SCHEMES:
        raise StoreError("a web server can neither be listed nor written to")
    settings = tuple(
        sorted(item for item in os.environ.items() if item[0].startswith(_ENVIRONMENT))
    )
    try:
        if address.scheme == "s3":
            from sta.transport.aws import current_keys

            settings += current_keys()
        return _store(address.scheme, address.container, policy, settings)
    except StoreError:
        raise
    except Exception as error:
        raise store_error(error) from None


@lru_cache(maxsize=64)
def _store(
    scheme: str, container: str, policy: RetryPolicy, settings: tuple[tuple[str, str], ...]
) -> Any:
    from obstore import store

    kind: Any
    config: dict[str, Any]
    connect_s, read_s = policy.timeouts()
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=connect_s),
        "read_timeout": timedelta(seconds=read_s),
        "timeout": _REQUEST_LIMIT,
    }
    retries = {
        "max_retries": (policy.max_failures or 1) - 1,
        "backoff": {
            "init_backoff": timedelta(seconds=policy.first_wait_s),
            "max_backoff": timedelta(seconds=min(policy.max_wait_s, 20.0)),
        },
        "retry_timeout": _RETRY_LIMIT,
    }
    environment = dict(settings)
    certificates = environment.get("SSL_CERT_FILE", "")
    if scheme == "s3":
        from sta.transport.aws import s3_settings

        found = s3_settings(container)
        config, provider = found.config, found.provider
        certificates = found.certificates or certificates
        client["allow_http"] = config.get("endpoint", "").startswith("http://")
        kind, more = store.S3Store, {"credential_provider": provider} if provider else {}
    elif scheme == "gs":
        config, more = {}, {}
        if emulator := environment.get("STORAGE_EMULATOR_HOST"):
            base = emulator if "://" in emulator else f"http://{emulator}"
            # An emulator knows no accounts.
            account = {"gcs_base_url": base, "disable_oauth": True}
            account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
            config = {"service_account_key": json.dumps(account)}
            client["allow_http"] = base.startswith("http://")
        kind = store.GCSStore
    else:
        container, _, host = container.partition("@")
        config, more = _azure_account(host), {}
        endpoint = environment.get("AZURE_STORAGE_ENDPOINT") or environment.get("AZURE_ENDPOINT")
        emulated = environment.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")
        client["allow_http"] = emulated or (endpoint or "").startswith("http://")
        kind = store.AzureStore
    if certificates:
        try:
            with open(certificates, "rb") as file:
                client["root_certificate"] = file.read()
        except OSError as error:
            raise StoreError(
                f"the certificates {certificates}, which AWS_CA_BUNDLE or SSL_CERT_FILE names, "
                f"cannot be read: {error.strerror}"
            ) from None
    try:
        return kind(container, config=config, client_options=client, retry_config=retries, **more)
    except Exception as error:
        if "Account must be specified" in str(error):
            raise
        raise StoreError(
            f"the credentials or settings of {scheme}:// in the environment are not valid; "
            f"pipeline/storage/README.md names the variables",
            "forbidden",
        ) from None


def _azure_account(host: str) -> dict[str, Any]:
    """The account that an abfss:// address names: container@account.dfs.core.windows.net."""
    return {"account_name": host.partition(".")[0]} if host else {}


def server_of(address: ObjectAddress) -> str:
    """Address of the server of a bucket of S3; "" if it is not known or another store."""
    if address.scheme != "s3":
        return ""
    from sta.transport.aws import server

    try:
        return server()
    except StoreError:  # opening the object reports what is missing
        return ""
