"""A video within a gzip stream: ``gzip:OFFSET+SIZE@INDEX``, by its place in the unpacked data.

A gzip stream has no places to begin at. The index of one, which a listing makes as it reads the
stream once, holds what decompression needs to begin every few MiB; INDEX is its address. Without an
index, or if the index is lost, the stream is unpacked from its beginning.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source, check_size

SPACING_BYTES = 4 << 20
"""Unpacked bytes between two places to begin at. Each takes 32 KiB of the index."""

_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class GzipRange:
    """A video that is ``size`` unpacked bytes of a gzip file, from ``offset`` on."""

    offset: int
    size: int
    index: str = ""

    kind: ClassVar[str] = "gzip"

    @classmethod
    def parse(cls, text: str) -> GzipRange:
        """From what follows the kind; raises ValueError."""
        found = re.fullmatch(r"(\d+)\+(\d+)(?:@(.+))?", text, re.DOTALL)
        if found is None:
            raise ValueError("it is not OFFSET+SIZE@INDEX")
        return cls(int(found[1]), int(found[2]), found[3] or "")

    def __str__(self) -> str:
        index = f"@{self.index}" if self.index else ""
        return f"{self.kind}:{self.offset}+{self.size}{index}"

    @contextmanager
    def open(self, whole: Source, *, max_bytes: int, index: bytes = b"") -> Iterator[Source]:
        """The video in an opened file; raises UnitFailure.

        ``index``: what INDEX holds, b"" if that is not known.
        """
        check_size(self.size, max_bytes)
        content = GzipContent(whole, index, self.offset, self.size)
        yield Source(content, whole.etag)


class GzipContent:
    """``size`` unpacked bytes of a gzip file, from ``offset`` on."""

    def __init__(self, whole: Source, index: bytes, offset: int, size: int) -> None:
        self.size = size
        self.failure: UnitFailure | None = None
        self.is_remote = whole.content.is_remote
        self._whole = whole
        self._offset = offset
        self._stream = unpacked(whole, index)

    @property
    def received(self) -> int:
        """As in Content."""
        return self._whole.content.received

    def begin_unit(self) -> None:
        """As in Content."""
        self._whole.content.begin_unit()

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        count = max(0, min(count, self.size - offset))
        if self.failure is not None or not count:
            return b""
        try:
            self._stream.seek(self._offset + offset)
            data: bytes = self._stream.read(min(count, _COPY_BYTES))
        except Exception as error:
            data = b""
            self.failure = failure_of(error)
        else:
            if not data:
                self.failure = UnitFailure(ErrorType.corrupt, "the gzip file ends within the video")
        return data


def unpacked(whole: Source, index: bytes = b"") -> Any:
    """The unpacked bytes of a gzip file, as a file that can be read and seeked.

    With an index, one whose seeks begin near their place; else one that makes its index as it goes.
    Reading raises errors of indexed_gzip, and UnitFailure where the source fails.
    """
    import indexed_gzip

    stream = indexed_gzip.IndexedGzipFile(fileobj=_Stream(whole), spacing=SPACING_BYTES)
    if index:
        try:
            stream.import_index(fileobj=io.BytesIO(index))
        except indexed_gzip.ZranError:
            return unpacked(whole)
    return stream


def failure_of(error: Exception) -> UnitFailure:
    """The failure for an error of reading unpacked bytes."""
    if isinstance(error, UnitFailure):
        return error
    if type(error).__module__.startswith("indexed_gzip"):
        return UnitFailure(ErrorType.corrupt, "the gzip file is damaged")
    return UnitFailure(ErrorType.unavailable, "the file could not be read")


class _Stream(io.RawIOBase):
    """The bytes of a source as a Python file, whose reads raise the failure of the source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = base + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        """Up to ``count`` bytes; raises the failure of the source."""
        left = self._source.size - self._at
        data = self._source.read_at(self._at, max(0, left if count < 0 else min(count, left)))
        if self._source.failure is not None:
            raise self._source.failure
        self._at += len(data)
        return data
