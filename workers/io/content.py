"""An opened video: `Source`, whose bytes come from a file or from ranges of an object."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from workers.failures import ErrorType, UnitFailure


class Content(Protocol):
    """Bytes that are read by offset."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    @property
    def received(self) -> int:
        """Bytes that were read so far."""

    @property
    def failure(self) -> UnitFailure | None:
        """The failure that ended reading, if any."""

    @property
    def is_remote(self) -> bool:
        """Whether reading takes requests to a storage."""

    def begin_unit(self) -> None:
        """Starts the time for requests over: another unit of the same video follows."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset`` on, at least one before the end.

        After a failure it returns b"", as at the end: exceptions do not pass through C libraries,
        so callers check ``failure`` afterwards.
        """


class FileContent:
    """The bytes of an open file, read by offset: several readers can share its descriptor."""

    failure: UnitFailure | None = None
    is_remote = False

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.received = 0

    def begin_unit(self) -> None:
        """As in Content."""

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content; raises OSError where the disk does not give the bytes."""
        data = os.pread(self.descriptor, max(0, min(count, self.size - offset)), offset)
        self.received += len(data)
        return data


class BytesContent:
    """Bytes in memory."""

    failure: UnitFailure | None = None
    is_remote = False

    def __init__(self, data: bytes) -> None:
        self.size = self.received = len(data)
        self._data = data

    def begin_unit(self) -> None:
        """As in Content."""

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        return self._data[offset : offset + max(0, count)]


class _View:
    """What is read of another content; that one fetches and fails."""

    def __init__(self, whole: Content) -> None:
        self._whole = whole

    @property
    def received(self) -> int:
        """As in Content."""
        return self._whole.received

    @property
    def failure(self) -> UnitFailure | None:
        """As in Content."""
        return self._whole.failure

    @property
    def is_remote(self) -> bool:
        """As in Content."""
        return self._whole.is_remote

    def begin_unit(self) -> None:
        """As in Content."""
        self._whole.begin_unit()


class RangeContent(_View):
    """``size`` bytes of another content, from ``offset`` on."""

    def __init__(self, whole: Content, offset: int, size: int) -> None:
        super().__init__(whole)
        self.size = size
        self._offset = offset

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        return self._whole.read_at(self._offset + offset, max(0, min(count, self.size - offset)))


class ContentWithHole(_View):
    """Another content, but zeros in its range ``hole``, [start, end); None for no hole."""

    def __init__(self, whole: Content) -> None:
        super().__init__(whole)
        self.size = whole.size
        self.hole: tuple[int, int] | None = None

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        if self.hole is None:
            return self._whole.read_at(offset, count)
        start, end = self.hole
        if start <= offset < end:
            return bytes(max(0, min(count, end - offset)))
        if offset < start:
            count = min(count, start - offset)
        return self._whole.read_at(offset, count)


@dataclass(frozen=True)
class Source:
    """An opened video.

    ``etag`` is None for a file. ``fetched``: the bytes that a download took; None if the content is
    read where it lies.
    """

    content: Content
    etag: str | None = None
    fetched: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the file or object."""
        return self.content.size

    @property
    def failure(self) -> UnitFailure | None:
        """The failure that ended reading, if any."""
        return self.content.failure

    def opened(self) -> Cursor:
        """A new file object, for libavformat."""
        return Cursor(self.content)

    def head(self, count: int = 4096) -> bytes:
        """The first ``count`` bytes."""
        return self.read_at(0, count)

    def read_at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on, fewer only at the end."""
        first = self.content.read_at(offset, count)
        if len(first) >= count or not first:
            return first
        data = bytearray(first)
        while piece := self.content.read_at(offset + len(data), count - len(data)):
            data += piece
        return bytes(data)


class Cursor:
    """A seekable binary file over a Content, as much of one as libavformat asks for."""

    name = ""  # libavformat must neither guess a format from it nor open it

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """Up to ``count`` bytes, b"" at the end and after a failure."""
        data = self._content.read_at(self._at, self._content.size if count < 0 else count)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; ValueError before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._content.size}[whence]
        if base + offset < 0:
            raise ValueError("before the start of the file")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The place of the next read."""
        return self._at

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True


def check_size(size: int, max_bytes: int) -> None:
    """Raises UnitFailure for a video without bytes, or with more than ``max_bytes``."""
    if size == 0:
        raise UnitFailure(ErrorType.empty, "the file has no bytes")
    if size > max_bytes:
        raise UnitFailure(
            ErrorType.too_large, f"{size:,} bytes are more than the limit of {max_bytes:,}"
        )
