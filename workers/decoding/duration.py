"""The duration of a video from its packets' timestamps, without decoding (headers may be wrong)."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush, heappushpop
from typing import Any

import numpy as np
from av.packet import Packet

from workers.decoding.container import nothing_decoded
from workers.decoding.demuxer import Demuxer, SeekError
from workers.decoding.packets import PacketRows, frame_seconds
from workers.decoding.plan import MOST_SECONDS, NO_TIME, REORDERED
from workers.decoding.sequential import FrameClock, last_frame_s
from workers.decoding.start_time import StartTime
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source

_BACK_S = (2.0, 8.0, 32.0, 128.0, 512.0)
_BEYOND = 1 << 61


def duration_s(source: Source, demuxer: Demuxer, origin: StartTime) -> float:
    """Seconds from the first frame to the end of the last one; raises UnitFailure.

    Reads the last packets of the file, or all packets where a seek by timestamp is not possible.
    """
    found = None if origin.tick is None else _by_tail(source, demuxer, origin.tick)
    found = _by_all(source, demuxer) if found is None else found
    if found > MOST_SECONDS:
        raise UnitFailure(
            ErrorType.corrupt, f"by its timestamps the video is {found / 86_400:,.0f} days long"
        )
    return found


def _by_tail(source: Source, demuxer: Demuxer, origin: int) -> float | None:
    last = _last_tick(source, demuxer)
    if last is None:
        rows = _tail(demuxer, _BEYOND)
        if rows is None:
            return None
        entries = demuxer.stream.index_entries
        if len(rows):
            last = int(rows.table().pts.max())
        elif len(entries):  # the search for the end has gathered an index on the way
            last = int(entries[-1].timestamp)
        else:
            return None
    for back_s in _BACK_S:
        tick = last - int(back_s / demuxer.tick_s)
        rows = _tail(demuxer, tick if tick > origin else None)
        if rows is None:
            return None
        table = rows.table()
        shown = np.sort(table.pts[table.shown & (table.pts >= origin)])
        if len(shown) > REORDERED or tick <= origin:
            return _end_s(rows, origin) if len(shown) else None
    return None


def _last_tick(source: Source, demuxer: Demuxer) -> int | None:
    """The timestamp of the last packet in the stream's index that lies within the file."""
    entries = demuxer.stream.index_entries
    for number in range(len(entries) - 1, -1, -1):
        entry = entries[number]
        if entry.pos + entry.size <= source.size:
            return int(entry.timestamp) if number < len(entries) - 1 else None
    return None


def _tail(demuxer: Demuxer, tick: int | None) -> PacketRows | None:
    """The packets from about ``tick`` to the end of the file; from the start where it is None."""
    try:
        read = demuxer.from_start() if tick is None else demuxer.from_tick(tick)
        rows = PacketRows(demuxer.stream)
        for packet in read:
            if packet is not None and packet.pts is not None and not packet.is_corrupt:
                rows.add(packet)
        return rows
    except SeekError:
        return None


def _end_s(rows: PacketRows, origin: int) -> float:
    table = rows.table()
    order = table.order()
    times = (table.pts[order] - origin) * table.tick_s
    own_s = float(table.duration[order[-1]]) * table.tick_s
    gap_s = float(times[-1] - times[-2]) if len(times) > 1 else 0.0
    return float(times[-1]) + last_frame_s(own_s, gap_s, table.frame_s)


def _by_all(source: Source, demuxer: Demuxer) -> float:
    """By every packet: as frames would be timed one after the other, had they been decoded."""
    read = demuxer.from_start()
    frame_s = frame_seconds(demuxer.stream)
    clock, before, last, own_s = FrameClock(demuxer.tick_s, frame_s), 0.0, -1.0, 0.0
    for pts, own_s in _in_order_of_display(read, demuxer.tick_s):  # noqa: B007 - the last is used
        before, last = last, clock.at(pts)
    if last < 0:
        raise nothing_decoded(source, demuxer.stream, packets=0)
    return last + last_frame_s(own_s, last - before if before >= 0 else 0.0, frame_s)


def _in_order_of_display(
    read: Iterator[Packet[Any] | None], tick_s: float
) -> Iterator[tuple[int | None, float]]:
    """(timestamp, seconds it is shown) of every packet; one without a timestamp follows the last.

    Decoding times that go back begin another count, whose timestamps are not mixed with the last's.
    """
    waiting: list[tuple[int, int, int | None, float]] = []
    decoded_at, place = None, NO_TIME
    for number, packet in enumerate(read):
        if packet is None or packet.is_discard:
            continue
        if packet.dts is not None:
            if decoded_at is not None and packet.dts < decoded_at:
                yield from (entry[2:] for entry in sorted(waiting))
                waiting = []
            decoded_at = packet.dts
        place = place if packet.pts is None else packet.pts
        entry = place, number, packet.pts, float(packet.duration or 0) * tick_s
        if len(waiting) < REORDERED:
            heappush(waiting, entry)
        else:
            yield heappushpop(waiting, entry)[2:]
    yield from (entry[2:] for entry in sorted(waiting))
