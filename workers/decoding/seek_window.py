"""The packets of a long video that one segment needs, found by seeking."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from av.packet import Packet

from workers.decoding.demuxer import Demuxer, SeekError
from workers.decoding.packets import PacketRows
from workers.decoding.plan import REORDERED, Floats, Ints, PacketTable
from workers.decoding.stream_index import StreamIndex
from workers.sampling import SAME_S, Protocol

_BACK_S = (0.0, 2.0, 8.0, 32.0, 128.0, 512.0)
_MOST_ROWS = 1 << 22


@dataclass(frozen=True)
class Need:
    """The frames that a segment needs, in seconds since the video's first frame.

    These are all frames of [start_s, end_s), the frame on display at ``start_s``, and ``after``
    frames beyond the one on display at ``last_s``, where the last clip starts. ``end_s`` and
    ``last_s`` are infinite for the video's last segment.
    """

    start_s: float
    end_s: float
    last_s: float
    after: int

    @classmethod
    def of(cls, protocol: Protocol, start_s: float | None, end_s: float | None) -> Need:
        """Of the segment [start_s, end_s); None stands for the start or the end of the video."""
        after = protocol.stride * (protocol.frames - 1)
        start_s = start_s or 0.0
        if end_s is None:
            return cls(start_s, float("inf"), float("inf"), after)
        numbers = protocol.clip_numbers(start_s, end_s)
        assert protocol.every_s is not None
        last_s = (numbers.stop - 1) * protocol.every_s if numbers else start_s
        return cls(start_s, end_s, last_s, after)


@dataclass(frozen=True)
class Window:
    """The packets of a segment, from an entry (where decoding may start) to the last one needed.

    ``origin``: timestamp of the video's first frame, in ticks. ``starts_file``: the first row is
    the file's first packet. ``ends_file``: the last row is its last packet. ``reliable_s``: when
    the second entry is shown; if nothing was amiss before it, frames from there on are those of a
    decode from the start of the file, also where packets are damaged. ``whole``: the window holds
    all frames of the video.
    """

    table: PacketTable
    origin: int
    starts_file: bool
    ends_file: bool
    reliable_s: float
    whole: bool = False

    def order(self) -> Ints:
        """(frames,) row of each frame, in the order of display."""
        return self.table.order()

    def times(self) -> Floats:
        """(frames,) seconds of each frame since the video's first."""
        if self.whole:
            return self.table.times()
        ticks = self.table.pts[self.order()] - self.origin
        return np.asarray(ticks * self.table.tick_s, dtype=np.float64)


def whole_window(index: StreamIndex) -> Window:
    """All packets of a file, as the window of any of its segments."""
    table = index.table
    origin = int(table.pts[table.shown].min())
    never = float("inf")
    return Window(table, origin, index.starts_file, ends_file=True, reliable_s=never, whole=True)


def read_window(demuxer: Demuxer, origin: int, need: Need, *, margin: int = 0) -> Window | None:
    """The window for ``need``, starting ``margin`` entries before the last possible one.

    None where the packets cannot be identified.
    """
    for back_s in _BACK_S:
        tick = origin + int((need.start_s - back_s) / demuxer.tick_s)
        try:
            window = _Reader(demuxer, origin, need, margin).read(tick)
        except SeekError:
            window = None
        if window is not None:
            return window
        if tick <= origin:
            return None
    return None


class _Reader:
    """One attempt to read a window: keeps packets, and drops those before a later usable entry."""

    def __init__(self, demuxer: Demuxer, origin: int, need: Need, margin: int) -> None:
        self._demuxer = demuxer
        self._origin = origin
        self._need = need
        self._margin = margin
        self._entries: deque[int] = deque()
        self._times: deque[float] = deque()
        self._late = self._beyond_end = self._beyond_last = 0

    def read(self, tick: int) -> Window | None:
        starts_file = tick <= self._origin
        read = self._demuxer.from_start() if starts_file else self._demuxer.from_tick(tick)
        rows, ends_file = PacketRows(self._demuxer.stream, open_groups=True), True
        for packet in read:
            entry = rows.add(packet)
            if len(rows) > _MOST_ROWS:
                return None
            time = None if packet is None else self._time(packet)
            if packet is None or time is None:
                continue
            if entry and time <= self._need.start_s + SAME_S and not packet.is_discard:
                starts_file = self._begin_later(rows, time, starts_file)
            self._count(packet, time)
            if self._late > REORDERED and not starts_file and len(self._entries) <= self._margin:
                return None
            if self._is_enough():
                ends_file = False
                break
        if not starts_file and len(self._entries) <= self._margin:
            return None
        table = rows.table()
        table = replace(table, shown=table.shown & (table.pts >= self._origin))
        reliable_s = self._times[1] if len(self._times) > 1 else float("inf")
        return Window(table, self._origin, starts_file, ends_file, reliable_s)

    def _time(self, packet: Packet[Any]) -> float | None:
        if packet.pts is None:
            return None
        return float((packet.pts - self._origin) * self._demuxer.tick_s)

    def _begin_later(self, rows: PacketRows, time: float, starts_file: bool) -> bool:
        """Drops the packets before the earliest entry that is still needed."""
        self._entries.append(len(rows) - 1)
        self._times.append(time)
        if len(self._entries) > self._margin + 1:
            self._entries.popleft()
            self._times.popleft()
        elif starts_file or len(self._entries) > 1:
            return starts_file
        dropped = self._entries[0]
        rows.drop(dropped)
        self._entries = deque(entry - dropped for entry in self._entries)
        return starts_file and not dropped

    def _count(self, packet: Packet[Any], time: float) -> None:
        self._late += time > self._need.start_s + SAME_S
        self._beyond_end += time > self._need.end_s
        self._beyond_last += time > self._need.last_s + SAME_S and not packet.is_discard

    def _is_enough(self) -> bool:
        return self._beyond_end >= REORDERED and self._beyond_last >= self._need.after + REORDERED
