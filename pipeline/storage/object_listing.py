"""Lists the objects below a prefix, in order.

obstore lists with a fraction of the CPU time that boto3 takes. But it names objects by paths: it
shows the marker `a/` of a folder as an object `a` of 0 bytes, and a key with an empty part, a part
`.` or `..`, or a control character ends its listing. So objects of 0 bytes are looked at one by
one, and from such a key on boto3 lists the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sta.transport import aws, store
from sta.transport.object_address import UNUSUAL_KEY, ObjectAddress, object_address
from sta.transport.objects import quoted
from sta.transport.obstore_errors import store_error
from sta.transport.responses import StoreError
from sta.transport.retry import RUN_FILES, Retries, RetryPolicy

# A server that does not answer the first request probably does not exist, so the first request has
# few attempts. A server that has answered or throttles gets more.
_FIRST_REQUEST = RetryPolicy(max_failures=3, connect_timeout_s=5.0, read_timeout_s=20.0)
_NEXT_REQUESTS = dataclasses.replace(RUN_FILES, read_timeout_s=60.0)

_PAGE = 1000
# Objects of 0 bytes that are looked at one by one.
_MOST_EMPTY = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of a listing.

    Attributes:
        key: name within the bucket or container, as it stands.
        size: bytes.
        etag: ETag in quotes; None if the store gives none.
    """

    key: str
    size: int
    etag: str | None


class _UnusualKeyError(Exception):
    pass


def entries(uri: str) -> Iterator[Entry]:
    """Yields the objects below a bucket or folder.

    Args:
        uri: such as s3://bucket or s3://bucket/folder.

    Raises:
        StoreError: they cannot be listed.
    """
    address = object_address(uri)
    folder = f"{address.key.rstrip('/')}/" if address.key else ""
    last = ""
    try:
        if UNUSUAL_KEY.search(folder.rstrip("/")):
            raise _UnusualKeyError
        for entry in _listed(address, folder):
            last = entry.key
            if not entry.key.endswith("/"):
                yield entry
    except _UnusualKeyError:
        if address.scheme != "s3":
            raise StoreError(
                "a name has an empty part, a part . or .., or a control character, and can be "
                "listed of s3:// alone; name the videos in a list"
            ) from None
        yield from _listed_by_boto3(address.container, folder, last)


def one_entry(uri: str) -> Entry | None:
    """The object at an address; None if there is none.

    Raises:
        StoreError: the store cannot be asked.
    """
    address = object_address(uri)
    if UNUSUAL_KEY.search(address.key):
        if address.scheme != "s3":
            return None
        first = next(_listed_by_boto3(address.container, address.key, ""), None)
        return first if first is not None and first.key == address.key else None
    try:
        found = store.asked(store.store_of(address, _FIRST_REQUEST).head, address.key)
    except StoreError as error:
        if error.kind == "not_found":
            return None
        raise
    return Entry(address.key, found["size"], quoted(found["e_tag"]))


def _listed(address: ObjectAddress, folder: str) -> Iterator[Entry]:
    """The objects as obstore lists them; markers of folders keep their slash."""
    retries, policy, last, empty = Retries(_NEXT_REQUESTS), _FIRST_REQUEST, "", 0
    while True:
        bucket = store.store_of(address, policy)
        try:
            for page in bucket.list(folder, offset=last or None, chunk_size=_PAGE):
                policy = _NEXT_REQUESTS
                retries.progressed()
                for meta in page:
                    key = meta["path"]
                    if key <= last:
                        continue  # an offset that ends in a slash lost it
                    if meta["size"] == 0:
                        empty += 1
                        if empty > _MOST_EMPTY and address.scheme == "s3":
                            raise _UnusualKeyError
                        if _is_marker(bucket, key):
                            key += "/"
                    last = key
                    yield Entry(key, meta["size"], quoted(meta["e_tag"]))
            return
        except (GeneratorExit, _UnusualKeyError):
            raise
        except Exception as error:
            if type(error).__name__ == "InvalidPathError":
                raise _UnusualKeyError from None
            found = store_error(error)
            gone = policy is _FIRST_REQUEST and found.code == "connection failed"
            if found.kind != "transient" or gone or not retries.wait():
                raise found from None
            policy = _NEXT_REQUESTS


def _is_marker(bucket: Any, key: str) -> bool:
    try:
        store.asked(bucket.head, key)
    except StoreError as error:
        return error.kind == "not_found"
    return False


def _listed_by_boto3(bucket: str, prefix: str, after: str) -> Iterator[Entry]:
    request = {"Bucket": bucket, "Prefix": prefix}
    if after:
        request["StartAfter"] = after
    try:
        for page in (
            aws.client(bucket, _NEXT_REQUESTS).get_paginator("list_objects_v2").paginate(**request)
        ):
            for each in page.get("Contents", ()):
                if not each["Key"].endswith("/"):
                    yield Entry(each["Key"], each["Size"], each.get("ETag"))
    except GeneratorExit:
        raise
    except Exception as error:
        raise store_error(error) from None
