"""A video within a gzip stream: ``gzip:OFFSET+SIZE@INDEX``, by its place in the unpacked data.

A gzip stream has no places to begin at. The index of one, which a listing makes as it reads the
stream once, holds what decompression needs to begin every few MiB; INDEX is its address. Without an
index, or if the index is lost, the stream is unpacked from its beginning.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source, check_size

SPACING_BYTES = 4 << 20
"""Unpacked bytes between two places to begin at. Each takes 32 KiB of the index."""

# The same for a file that is damaged. What lies before the damage comes out as far as some such
# distances before it, since a file is unpacked up to the points ahead before it gives a byte.
FINE_SPACING_BYTES = 1 << 17
# So much is unpacked with fine spacing at most, which keeps the index in memory below 5 MiB.
_MOST_FINE_BYTES = 4 * SPACING_BYTES

_COPY_BYTES = 1 << 20
# GZIDX: a version, flags, sizes, and for each place its compressed and unpacked offset.
_MAGIC = b"GZIDX"
_HEADER_BYTES = 35
_POINT = struct.Struct("<QQBB")
_SLACK = 4096


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

    def compressed(self, index: bytes) -> tuple[int, int] | None:
        """The bytes of the gzip file that hold this, from where unpacking can begin; see GZIDX.

        None where the index is none, or has the wrong size.
        """
        if index[: len(_MAGIC)] != _MAGIC or len(index) < _HEADER_BYTES:
            return None
        count = struct.unpack_from("<I", index, _HEADER_BYTES - 4)[0]
        if len(index) < _HEADER_BYTES + count * _POINT.size or not count:
            return None
        points = _POINT.iter_unpack(index[_HEADER_BYTES : _HEADER_BYTES + count * _POINT.size])
        begin, end = 0, _compressed_size(index)
        for at, unpacked_at, *_ in points:
            if unpacked_at <= self.offset:
                begin = at
            if unpacked_at >= self.offset + self.size:
                end = min(at + _SLACK, end)
                break
        begin = max(0, begin - 1)  # a place may begin within a byte
        return begin, end

    @contextmanager
    def open(self, whole: Source, *, max_bytes: int, index: bytes = b"") -> Iterator[Source]:
        """The video in an opened file; raises UnitFailure.

        ``index``: what INDEX holds, b"" if that is not known.
        """
        check_size(self.size, max_bytes)
        content = GzipContent(whole, index, self.offset, self.size)
        yield Source(content, whole.etag)


class Excerpt:
    """A file of which only a piece is at hand; elsewhere it seems to end."""

    is_remote = True

    def __init__(self, piece: Source, begin: int, index: bytes) -> None:
        self.size = _compressed_size(index)
        self._piece = piece
        self._begin = begin

    @property
    def received(self) -> int:
        """As in Content."""
        return self._piece.fetched or 0

    @property
    def failure(self) -> UnitFailure | None:
        """As in Content."""
        return self._piece.failure

    def begin_unit(self) -> None:
        """As in Content."""

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        start = offset - self._begin
        return b"" if start < 0 else self._piece.read_at(start, count)


def _compressed_size(index: bytes) -> int:
    size: int = struct.unpack_from("<Q", index, len(_MAGIC) + 2)[0]
    return size


class GzipContent:
    """``size`` unpacked bytes of a gzip file, from ``offset`` on."""

    def __init__(self, whole: Source, index: bytes, offset: int, size: int) -> None:
        self.size = size
        self.failure: UnitFailure | None = None
        self.is_remote = whole.content.is_remote
        self._whole = whole
        self._offset = offset
        self._stream = unpacked(whole, index)
        self._is_fine = False

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
            data = self._unpacked(self._offset + offset, min(count, _COPY_BYTES))
        except Exception as error:
            data = b""
            self.failure = failure_of(error)
        else:
            if not data:
                self.failure = UnitFailure(ErrorType.corrupt, "the gzip file ends within the video")
        return data

    def _unpacked(self, offset: int, count: int) -> bytes:
        try:
            return _read(self._stream, offset, count)
        except Exception as error:
            is_far = offset + count > _MOST_FINE_BYTES
            if self._is_fine or is_far or failure_of(error).error_type is not ErrorType.corrupt:
                raise
            self._stream = unpacked(self._whole, spacing=FINE_SPACING_BYTES)
            self._is_fine = True
            return _read(self._stream, offset, count)


def _read(stream: Any, offset: int, count: int) -> bytes:
    stream.seek(offset)
    data: bytes = stream.read(count)
    return data


def unpacked(whole: Source, index: bytes = b"", *, spacing: int = SPACING_BYTES) -> Any:
    """The unpacked bytes of a gzip file, as a file that can be read and seeked.

    With an index, one whose seeks begin near their place; else one that makes its index as it goes,
    with a point every `spacing` unpacked bytes.
    Reading raises errors of indexed_gzip, and UnitFailure where the source fails.
    """
    import indexed_gzip

    stream = indexed_gzip.IndexedGzipFile(fileobj=_Stream(whole), spacing=spacing)
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
    # indexed_gzip returns some codes of damage as lengths, which Python's buffer refuses.
    is_code = isinstance(error, OSError) and error.errno is None
    if is_code or type(error).__module__.startswith("indexed_gzip"):
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
