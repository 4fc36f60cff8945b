"""The timestamp of a video's first frame, and whether the video's timestamps are reliable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import av.error
from av.packet import Packet

from workers.decoding.demuxer import Demuxer, SeekError
from workers.decoding.packets import PacketRows, times_of_display
from workers.decoding.plan import NO_TIME

_UNINDEXED = "mpegts"
_MOST_PACKETS = 600
_SEEN_PACKETS = 64
_PROBES = 8
_PROBED_PACKETS = 100


@dataclass(frozen=True)
class StartTime:
    """The first frame of a decode from the start of the file.

    ``tick``: its timestamp; None where timestamps do not identify frames, so that only a decode
    from the start can. ``undecodable``: frames before it, without their keyframe. ``ranked``: a
    frame's own timestamp may be that of another frame; sorted timestamps are right.
    """

    tick: int | None
    undecodable: int = 0
    ranked: bool = False


def find_start_time(demuxer: Demuxer) -> StartTime:
    """Finds the start time of an open file by decoding its first frame."""
    rows = PacketRows(demuxer.stream)
    read = _noted(demuxer.from_start(), rows)
    origin = first_frame(demuxer, read)
    for _ in islice(read, max(0, _SEEN_PACKETS - len(rows))):
        pass
    by_display = times_of_display(demuxer.container)
    if not by_display or rows.doubtful or not demuxer.tick_s:
        return StartTime(None, ranked=rows.table().ranks(by_display=by_display) is not None)
    unindexed = demuxer.container.format.name == _UNINDEXED
    if origin.tick is not None and unindexed and not _times_grow(demuxer):
        return StartTime(None)
    return origin


def _noted(read: Iterator[Packet[Any] | None], rows: PacketRows) -> Iterator[Packet[Any] | None]:
    for packet in read:
        rows.add(packet)
        yield packet


def first_frame(demuxer: Demuxer, read: Iterator[Packet[Any] | None]) -> StartTime:
    """The first frame that the packets ``read``, from the start of the file on, decode to."""
    before: list[int] = []
    led = False
    for packet in islice(read, _MOST_PACKETS):
        if packet is None:
            continue
        led = led or packet.is_keyframe
        if not led and not packet.is_discard:
            before.append(NO_TIME if packet.pts is None else packet.pts)
        try:
            frames = demuxer.stream.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            continue
        for frame in frames:
            return _origin(frame.pts, before)
    try:
        frames = demuxer.stream.decode(None)
    except av.error.FFmpegError:
        frames = []
    return _origin(frames[0].pts, before) if frames else StartTime(None)


def _origin(tick: int | None, before: list[int]) -> StartTime:
    return StartTime(tick, 0 if tick is None else sum(pts < tick for pts in before))


def _times_grow(demuxer: Demuxer) -> bool:
    """Whether timestamps increase along the file, so that a search by time works.

    In a stream that was joined from several, timestamps restart in each of them.
    """
    ticks: list[int] = []
    for number in range(_PROBES):
        try:
            ticks += _tick_near(demuxer, demuxer.size * number // _PROBES)
        except SeekError:
            return False
    return all(a <= b for a, b in pairwise(ticks))


def _tick_near(demuxer: Demuxer, offset: int) -> list[int]:
    for packet in islice(demuxer.from_byte(offset), 1, _PROBED_PACKETS):
        if packet is not None and packet.pts is not None and not packet.is_corrupt:
            return [packet.pts]
    return []
