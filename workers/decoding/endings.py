"""Frames missing at the end of a truncated AVI or Matroska file.

Sizes and counts in headers may be wrong: recorders that crash leave placeholders, and tools that
cut or join files do not update them. Frames count as missing only if the file ends within its
picture data, and at most as many as a second figure in the headers confirms.

Sources: Microsoft's AVI RIFF File Reference and the OpenDML AVI extensions; RFC 8794, 4 and 6
(EBML); RFC 9559, 5.1 (Matroska).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from av.video.stream import VideoStream

from workers.decoding.plan import MOST_SECONDS
from workers.io.content import Source

_HEAD_BYTES = 1 << 16
_MOST_CHUNKS = 10_000
_PLACEHOLDERS = (0, 0xFFFFFFFF)
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18\x53\x80\x67"
_INFO, _TIMESTAMP_SCALE, _DURATION = b"\x15\x49\xa9\x66", b"\x2a\xd7\xb1", b"\x44\x89"
_ABSURD = 10


@dataclass(frozen=True)
class Ending:
    """What the headers say about the end of the file.

    ``share``: share of the file that is missing, by the size of its picture data, 0 to 1.
    ``frames``: number of frames by the header; None where it has none.
    """

    share: float = 0.0
    frames: int | None = None

    def missing(self, frames: int) -> int:
        """Missing frames, if ``frames`` were decoded or are counted elsewhere."""
        if not self.share:
            return 0
        by_size = max(1, round(frames * self.share / (1 - self.share)))
        if self.frames is None:
            return by_size
        less, more = sorted((by_size, self.frames - frames))
        if less <= 0:
            return 0
        contradict = less >= frames and more > _ABSURD * less
        return 1 if contradict else less


NOTHING_SAID = Ending()


def ending(source: Source, stream: VideoStream, *, frame_s: float) -> Ending:
    """The ending of an AVI or Matroska file; other formats have an index that names lost frames."""
    head = source.head(_HEAD_BYTES)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Ending(_share(_avi_end(source), source.size), stream.frames or None)
    if head[:4] == _EBML:
        seconds = _matroska_seconds(head)
        frames = None if seconds is None else round(seconds / frame_s)
        return Ending(_share(segment_end(head), source.size), frames)
    return NOTHING_SAID


def _share(end: int | None, size: int) -> float:
    return 0.0 if end is None or end <= size else 1 - size / end


def _avi_end(source: Source) -> int | None:
    """Where the last list of picture data that begins in the file ends by its own size.

    The sizes of the RIFF chunks around it are ignored: they are wrong in many sound files.
    """
    at, end = 0, None
    for _ in range(_MOST_CHUNKS):
        header = source.read_at(at, 12)
        if len(header) < 8:
            break
        kind, size = header[:4], int.from_bytes(header[4:8], "little")
        if kind == b"RIFF":
            at += 12
            continue
        if kind == b"LIST" and header[8:] == b"movi":
            if size in _PLACEHOLDERS:
                return None
            end = at + 8 + size
        elif not kind.isascii() or not size:
            break
        at += 8 + size + size % 2
    return end


def segment_end(head: bytes) -> int | None:
    """Where a Matroska file's first segment ends by its own size; None if it is recorded live."""
    segment = _segment(head)
    if segment is None:
        return None
    size = _element_size(head, segment)
    return None if size is None else size[0] + size[1]


def _matroska_seconds(head: bytes) -> float | None:
    """The duration in the header of a file whose segment has a size; None where it has none."""
    segment = _segment(head)
    size = None if segment is None else _element_size(head, segment)
    if size is None:
        return None
    for kind, body in _elements(head[size[0] :]):
        if kind == _INFO:
            fields = dict(_elements(body))
            scale = int.from_bytes(fields.get(_TIMESTAMP_SCALE, b"\x0f\x42\x40"), "big")
            duration = fields.get(_DURATION, b"")
            if len(duration) not in (4, 8):
                return None
            (ticks,) = struct.unpack(">f" if len(duration) == 4 else ">d", duration)
            seconds = ticks * scale / 1e9
            return seconds if 0 < seconds <= MOST_SECONDS else None
    return None


def _segment(head: bytes) -> int | None:
    """Where the size of the first segment stands."""
    header = _element_size(head, 4)
    if header is None:
        return None
    at = header[0] + header[1]
    return at + 4 if head[at : at + 4] == _SEGMENT else None


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(id, payload) of every EBML element in a row, up to one whose size is unknown."""
    at = 0
    while at < len(data) and data[at]:
        start = at + 9 - data[at].bit_length()
        size = _element_size(data, start)
        if size is None:
            return
        yield data[at:start], data[size[0] : size[0] + size[1]]
        at = size[0] + size[1]


def _element_size(head: bytes, at: int) -> tuple[int, int] | None:
    """(where the data starts, how long it is) of the EBML size at ``at``; None if unknown."""
    if at >= len(head) or not head[at]:
        return None
    length = 9 - head[at].bit_length()
    field = head[at : at + length]
    value = int.from_bytes(field, "big") & ((1 << 7 * length) - 1)
    if len(field) < length or value == (1 << 7 * length) - 1:
        return None
    return at + length, value
