"""Where the time of a video begins, and whether its timestamps can be relied on at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import av.error
from av.packet import Packet

from workers.decoding.demuxer import LostPlace, Reading
from workers.decoding.packets import PacketRows, times_of_display
from workers.decoding.plan import NO_TIME

_UNINDEXED = "mpegts"
_MOST_PACKETS = 600
_SEEN_PACKETS = 64
_PROBES = 8
_PROBED_PACKETS = 100


@dataclass(frozen=True)
class Origin:
    """The first frame that a decode from the start gives.

    ``tick``: its timestamp; None where timestamps do not lead to frames, so that only a decode from
    the start can say which frame is where. ``unled``: frames before it that lack their keyframe.
    ``ranked``: a frame's own timestamp may be that of another; their order is right.
    """

    tick: int | None
    unled: int = 0
    ranked: bool = False


def find_origin(reading: Reading) -> Origin:
    """The origin of an opened file, by decoding its first frame."""
    rows = PacketRows(reading.stream)
    read = _noted(reading.from_start(), rows)
    origin = first_frame(reading, read)
    for _ in islice(read, max(0, _SEEN_PACKETS - len(rows))):
        pass
    by_display = times_of_display(reading.container)
    if not by_display or rows.doubtful or not reading.tick_s:
        return Origin(None, ranked=rows.table().ranks(by_display=by_display) is not None)
    unindexed = reading.container.format.name == _UNINDEXED
    if origin.tick is not None and unindexed and not _times_grow(reading):
        return Origin(None)
    return origin


def _noted(read: Iterator[Packet[Any] | None], rows: PacketRows) -> Iterator[Packet[Any] | None]:
    for packet in read:
        rows.add(packet)
        yield packet


def first_frame(reading: Reading, read: Iterator[Packet[Any] | None]) -> Origin:
    """The first frame that comes out of the file's packets ``read`` from the start on."""
    before: list[int] = []
    led = False
    for packet in islice(read, _MOST_PACKETS):
        if packet is None:
            continue
        led = led or packet.is_keyframe
        if not led and not packet.is_discard:
            before.append(NO_TIME if packet.pts is None else packet.pts)
        try:
            frames = reading.stream.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            continue
        for frame in frames:
            return _origin(frame.pts, before)
    try:
        frames = reading.stream.decode(None)
    except av.error.FFmpegError:
        frames = []
    return _origin(frames[0].pts, before) if frames else Origin(None)


def _origin(tick: int | None, before: list[int]) -> Origin:
    return Origin(tick, 0 if tick is None else sum(pts < tick for pts in before))


def _times_grow(reading: Reading) -> bool:
    """Whether timestamps grow with the place in a file that is searched by them.

    A stream that was put together from several starts its clock anew in each of them.
    """
    ticks: list[int] = []
    for number in range(_PROBES):
        try:
            ticks += _tick_near(reading, reading.size * number // _PROBES)
        except LostPlace:
            return False
    return all(a <= b for a, b in pairwise(ticks))


def _tick_near(reading: Reading, offset: int) -> list[int]:
    for packet in islice(reading.from_byte(offset), 1, _PROBED_PACKETS):
        if packet is not None and packet.pts is not None and not packet.is_corrupt:
            return [packet.pts]
    return []
