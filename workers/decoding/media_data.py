"""Where an MP4 file holds its pictures, apart from the index that names each of them.

FFmpeg's demuxer reads a picture's bytes with its name. Where it is given zeros in their place, the
index is read and few bytes travel.
"""

from __future__ import annotations

from workers.io.content import Source

_MOST_BOXES = 64
_WIDE, _TO_THE_END = 1, 0  # sizes that mean others, ISO/IEC 14496-12, 4.2
_FRAGMENT = b"moof"


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
