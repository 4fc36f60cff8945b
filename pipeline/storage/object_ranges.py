"""A file object of an object in a store, read by ranges in the thread that reads."""

from __future__ import annotations

import io
import os

import pyarrow as pa

from pipeline.storage.storage_errors import named_error
from sta.transport.objects import ObjectBytes, read_object
from sta.transport.retry import RUN_FILES

# The first request tells the size, and is all of a small object.
_FIRST_BYTES = 256 << 10
# An object of up to so many bytes is then read whole: its columns would take as long each.
_WHOLE_BYTES = 4 << 20
# Reads that are closer together are one request.
_BUFFER_BYTES = 1 << 20


def object_by_ranges(uri: str) -> pa.NativeFile:
    """The object at `uri`, for Arrow, of one version.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: it cannot be read; later reads raise the same.
    """
    return pa.PythonFile(io.BufferedReader(_Ranges(uri), _BUFFER_BYTES), mode="r")


class _Ranges(io.RawIOBase):
    """The bytes of one version of an object."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri
        self._at = 0
        self._etag: str | None = None
        first = self._fetched(0, _FIRST_BYTES)
        self._size, self._etag, self._start = first.size, first.etag, first.data
        if len(self._start) < self._size <= _WHOLE_BYTES:
            self._start += self._fetched(len(self._start), self._size).data

    def _fetched(self, start: int, end: int) -> ObjectBytes:
        try:
            return read_object(self._uri, start=start, end=end, etag=self._etag, policy=RUN_FILES)
        except Exception as error:
            raise named_error(error, self._uri) from None

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves; ValueError before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the start of the object")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills the buffer, or less of it at the end; returns the number of bytes."""
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        if end <= len(self._start):
            data = self._start[self._at : end]
        else:
            data = self._fetched(self._at, end).data
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
