"""An Arrow file system of the objects in S3, Google Cloud Storage or Azure.

Requests are those of `sta.transport`. Arrow's own file systems would be a second transport
with credentials and retries of their own.
"""

# ruff: noqa: D102 (the methods are those of Arrow's FileSystemHandler, which describes them)

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from pipeline.storage.proxy_filesystem import RayHandler
from pipeline.storage.storage_errors import named_error
from sta.transport import objects, store
from sta.transport.object_address import object_address
from sta.transport.responses import StoreError
from sta.transport.retry import RUN_FILES

# A file of up to so many bytes is read by one request, which also tells its size.
_FIRST_BYTES = 4 << 20
# A larger file is read from the temporary folder.
_MEMORY_BYTES = 64 << 20
# A writer holds so many bytes of a file in memory.
_PART_BYTES = 8 << 20


class ObjectFiles(RayHandler):
    """The objects of one scheme, such as "s3"; paths are bucket/key.

    A pickle contains no credentials; the process that loads it finds its own.
    """

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.protocol = (scheme,)

    def _uri(self, path: str) -> str:
        return f"{self.protocol[0]}://{path}"

    def _store(self, path: str) -> tuple[Any, str]:
        """The store of a path, and the key."""
        address = object_address(self._uri(path))
        return store.store_of(address, RUN_FILES), address.key.rstrip("/")

    @contextmanager
    def _doing(self, path: str) -> Iterator[None]:
        """Raises errors as FileNotFoundError, or StoreError with the address."""
        try:
            yield
        except Exception as error:
            raise named_error(error, self._uri(path)) from None

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> pafs.FileInfo:
        found: Any = None
        with self._doing(path):
            bucket, key = self._store(path)
            if key:
                with _absent():
                    size = int(store.asked(bucket.head, key)["size"])
                    return pafs.FileInfo(path, pafs.FileType.File, size=size)
            with _absent():
                found = store.asked(lambda: next(iter(bucket.list(key, chunk_size=1)), None))
        kind = pafs.FileType.Directory if found or not key else pafs.FileType.NotFound
        return pafs.FileInfo(path, kind)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        base = selector.base_dir.rstrip("/")
        objects: Any = ()
        folders: Any = ()
        with self._doing(base), _absent():
            bucket, key = self._store(base)
            if selector.recursive:
                pages = store.asked(lambda: list(bucket.list(key, chunk_size=1000)))
                objects = [meta for page in pages for meta in page]
            else:
                listed = store.asked(bucket.list_with_delimiter, key)
                objects, folders = listed["objects"], listed["common_prefixes"]
        container = base.partition("/")[0]
        infos = [
            pafs.FileInfo(f"{container}/{each['path']}", pafs.FileType.File, size=each["size"])
            for each in objects
            if each["path"] != key  # the marker of a folder
        ]
        infos += [pafs.FileInfo(f"{container}/{each}", pafs.FileType.Directory) for each in folders]
        if not infos and key and not selector.allow_not_found:
            raise FileNotFoundError(self._uri(base))
        return infos

    def create_dir(self, path: str, recursive: bool) -> None:
        """Does nothing: object storage has no folders, and a user may be limited to a prefix."""

    def delete_dir(self, path: str) -> None:
        self.delete_dir_contents(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
        for info in self.get_file_info_selector(selector):
            self.delete_file(info.path)

    def delete_root_dir_contents(self) -> None:
        raise OSError("the buckets of a store are not deleted")

    def delete_file(self, path: str) -> None:
        with self._doing(path):
            bucket, key = self._store(path)
            store.asked(bucket.delete, key)

    def move(self, src: str, dest: str) -> None:
        self.copy_file(src, dest)
        self.delete_file(src)

    def copy_file(self, src: str, dest: str) -> None:
        with self._doing(src):
            bucket, key = self._store(src)
            store.asked(bucket.copy, key, self._store(dest)[1])

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        with self._doing(path):
            first = objects.read_object(self._uri(path), end=_FIRST_BYTES, policy=RUN_FILES)
            if first.size <= len(first.data):
                return _reader(first.data)
            return _whole(self._uri(path), first)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        with self._doing(path):
            self._store(path)  # missing credentials are reported before work is done
        return pa.PythonFile(_Writer(self._uri(path)), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        raise OSError("objects are written as a whole and cannot be appended to")


@contextmanager
def _absent() -> Iterator[None]:
    """Passes over what is not there, the bucket included."""
    try:
        yield
    except StoreError as error:
        if error.kind != "not_found":
            raise


def _whole(uri: str, first: objects.ObjectBytes) -> pa.NativeFile:
    """A file of Arrow's own with the object's bytes.

    Arrow reads ahead in threads of its own, and a thread that needs Python while the process ends
    aborts it: for a file in Python, or to free bytes of Python. So the bytes are fetched into
    Arrow's memory, or into an unlinked temporary file if they are many.
    """
    if first.size <= _MEMORY_BYTES:
        return _reader(first.data, _bytes(uri, first, len(first.data), first.size))
    with tempfile.NamedTemporaryFile() as file:
        file.write(first.data)
        for start in range(len(first.data), first.size, _MEMORY_BYTES):
            file.write(_bytes(uri, first, start, min(start + _MEMORY_BYTES, first.size)))
        file.flush()
        return pa.memory_map(file.name)


def _reader(*pieces: bytes) -> pa.NativeFile:
    memory = pa.BufferOutputStream()
    for piece in pieces:
        memory.write(piece)
    return pa.BufferReader(memory.getvalue())


def _bytes(uri: str, first: objects.ObjectBytes, start: int, end: int) -> bytes:
    return objects.read_object(uri, start=start, end=end, etag=first.etag, policy=RUN_FILES).data


class _Writer:
    """An object being written, which is uploaded when it is closed.

    Until then its bytes are in memory, or in the temporary folder if they are many, so that an
    upload can be repeated. As with `AtomicFile`, nothing appears if a write failed, or if `close`
    is called while an exception that was raised after the opening is handled.
    """

    def __init__(self, uri: str) -> None:
        self.closed = False
        self._uri = uri
        self._failed = False
        self._passing = sys.exc_info()[1]
        self._file = tempfile.SpooledTemporaryFile(max_size=_PART_BYTES)  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def write(self, data: Any) -> int:
        try:
            return self._file.write(memoryview(data).cast("B"))
        except BaseException:
            self._failed = True
            raise

    def flush(self) -> None:
        """Does nothing: the object appears when it is closed."""

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        passing = sys.exc_info()[1]
        with self._file:
            if not self._failed and (passing is None or passing is self._passing):
                try:
                    objects.write_object(self._uri, self._file, RUN_FILES)
                except Exception as error:
                    raise named_error(error, self._uri) from None
