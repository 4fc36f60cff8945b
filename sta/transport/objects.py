"""Reads and writes whole objects and parts of them, at s3://, gs://, az:// and https:// addresses.

One transport for all packages: obstore (`sta.transport.store`) carries every request to S3, Google
Cloud Storage and Azure, `sta.transport.web` those to https://, which is imported when the first
file of a web server is opened.

Errors are `StoreError`, see `obstore_errors`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from sta.transport.object_address import UNUSUAL_KEY, ObjectAddress, is_web, object_address
from sta.transport.obstore_errors import store_error
from sta.transport.responses import ObjectResponse, StoreError
from sta.transport.retry import Retries, RetryPolicy
from sta.transport.store import asked, store_of

# A larger object is uploaded in parts of this size.
_PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 4


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
