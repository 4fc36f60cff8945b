"""Whether the index at the end of a fragmented MP4 is reliable (ISO/IEC 14496-12, 8.8)."""

from __future__ import annotations

from collections.abc import Iterator

from workers.io.content import Source

_MOST_BYTES = 1 << 22
_OFFSETS_FLAG, _FIRST_FLAGS_FLAG, _DATA_OFFSET_FLAG = 0x800, 0x4, 0x1
_DURATION_FLAG, _SIZE_FLAG, _FLAGS_FLAG = 0x100, 0x200, 0x400


def indexed_by_display(source: Source) -> bool:
    """Whether the index gives the presentation time of each fragment's first frame.

    The standard requires it, but some writers give the decoding time; frames found by the index
    then have other timestamps than frames found from the start. Compares the entry of the last
    fragment of every track with the fragment's own time.
    """
    end = source.read_at(max(0, source.size - 16), 16)
    if end[4:8] != b"mfro":
        return False
    size = int.from_bytes(end[12:16], "big")
    if not 16 < size <= min(source.size, _MOST_BYTES):
        return False
    index = source.read_at(source.size - size, size)
    tracks = [_last_entry(body) for kind, body in _boxes(index[8:]) if kind == b"tfra"]
    return all(entry is not None and _agrees(source, *entry) for entry in tracks)


def _last_entry(body: bytes) -> tuple[int, int, int] | None:
    """(track, time, place of the fragment) of the last entry."""
    count = int.from_bytes(body[12:16], "big")
    field = 8 if body[:1] == b"\1" else 4
    lengths = sum((body[11] >> shift & 3) + 1 for shift in (0, 2, 4)) if len(body) > 11 else 0
    at = 16 + (count - 1) * (2 * field + lengths)
    entry = body[at : at + 2 * field]
    if count < 1 or len(entry) < 2 * field:
        return None
    time, place = int.from_bytes(entry[:field], "big"), int.from_bytes(entry[field:], "big")
    return int.from_bytes(body[4:8], "big"), time, place


def _agrees(source: Source, track: int, time: int, place: int) -> bool:
    size = int.from_bytes(source.read_at(place, 4), "big")
    fragment = source.read_at(place, min(size, _MOST_BYTES))
    if fragment[4:8] != b"moof":
        return False
    for kind, body in _boxes(fragment[8:]):
        boxes = dict(_boxes(body)) if kind == b"traf" else {}
        if int.from_bytes(boxes.get(b"tfhd", b"")[4:8], "big") != track:
            continue
        decoded = boxes.get(b"tfdt")
        if decoded is None or b"trun" not in boxes:
            return False
        field = 8 if decoded[0] == 1 else 4
        shown = int.from_bytes(decoded[4 : 4 + field], "big") + _first_offset(boxes[b"trun"])
        return shown == time
    return False


def _first_offset(run: bytes) -> int:
    """By how much the first sample of a ``trun`` box is shown later than it is decoded."""
    flags = int.from_bytes(run[1:4], "big")
    if not flags & _OFFSETS_FLAG:
        return 0
    before = (_DATA_OFFSET_FLAG, _FIRST_FLAGS_FLAG, _DURATION_FLAG, _SIZE_FLAG, _FLAGS_FLAG)
    at = 8 + 4 * sum(bool(flags & flag) for flag in before)
    return int.from_bytes(run[at : at + 4], "big", signed=run[:1] == b"\1")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, payload) of every box in a row; those with 64-bit sizes do not occur in an index."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if not 8 <= size <= len(data) - at:
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size
