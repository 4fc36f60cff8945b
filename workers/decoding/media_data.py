"""Reads a video's index without its pictures, so that few bytes travel where few are needed.

An MP4 file holds its pictures in one box (``mdat``) and names each of them in another (``moov``).
FFmpeg's demuxer reads a picture's bytes with its name. Here it reads zeros in their place.
"""

from __future__ import annotations

from workers.failures import UnitFailure
from workers.io.content import Content, Source

_MOST_BOXES = 64
_WIDE, _TO_THE_END = 1, 0  # sizes that mean others, ISO/IEC 14496-12, 4.2
_FRAGMENT = b"moof"


class MediaData:
    """A `Content` that gives zeros for the range ``hidden`` of another one, [start, end)."""

    def __init__(self, whole: Content) -> None:
        self.hidden: tuple[int, int] | None = None
        self._whole = whole

    @property
    def size(self) -> int:
        """As in Content."""
        return self._whole.size

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

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        if self.hidden is None:
            return self._whole.read_at(offset, count)
        start, end = self.hidden
        if start <= offset < end:
            return bytes(max(0, min(count, end - offset)))
        if offset < start:
            count = min(count, start - offset)
        return self._whole.read_at(offset, count)


def media_range(source: Source) -> tuple[int, int] | None:
    """Where the pictures of an MP4 file lie, [start, end).

    None for other files, for those in fragments, which have indices between pictures, and for
    those whose pictures lie in several boxes.
    """
    found: list[tuple[int, int]] = []
    at = 0
    for _ in range(_MOST_BOXES):
        header = source.read_at(at, 16)
        if len(header) < 8:
            break
        size, kind, payload = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if not at and kind != b"ftyp":
            return None
        if size == _WIDE:
            size, payload = int.from_bytes(header[8:], "big"), at + 16
        elif size == _TO_THE_END:
            size = source.size - at
        if kind == _FRAGMENT or size < payload - at:
            return None
        if kind == b"mdat":
            found.append((payload, min(at + size, source.size)))
        at += size
        if at >= source.size:
            break
    else:
        return None
    return found[0] if len(found) == 1 else None
