"""The part of a long video that one unit needs, read without what lies before and after."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from av.packet import Packet

from workers.decoding.demuxer import LostPlace, Reading
from workers.decoding.packets import PacketRows
from workers.decoding.plan import REORDERED, Floats, Ints, PacketTable
from workers.decoding.stream_index import StreamIndex
from workers.sampling import SAME_S, Protocol

_BACK_S = (0.0, 2.0, 8.0, 32.0, 128.0, 512.0)
_MOST_ROWS = 1 << 22


@dataclass(frozen=True)
class Need:
    """What a unit of a timeline needs, in seconds since the video's first frame.

    Every frame of [start_s, end_s), the one on display at ``start_s``, and ``after`` frames beyond
    the one on display at ``last_s``, where the last clip starts. ``end_s`` and ``last_s`` are
    infinite for the video's last unit.
    """

    start_s: float
    end_s: float
    last_s: float
    after: int

    @classmethod
    def of(cls, protocol: Protocol, start_s: float | None, end_s: float | None) -> Need:
        """Of a segment of a timeline; None stands for the start and the end of the video."""
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
    """Packets from one with which decoding may start up to the last one that a unit needs.

    ``origin``: the timestamp of the video's first frame, in ticks. ``starts_file``: the first row
    is the file's first packet. ``ends_file``: the last row is its last. ``firm_s``: when the second
    entry is shown; what is decoded from there on, if all was well before, is what a decode from the
    start of the file gives even of damaged packets. ``whole``: no frame of the video lies outside.
    """

    table: PacketTable
    origin: int
    starts_file: bool
    ends_file: bool
    firm_s: float
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
    """All packets of a file, as the window of any of its units."""
    table = index.table
    origin = int(table.pts[table.shown].min())
    never = float("inf")
    return Window(table, origin, index.starts_file, ends_file=True, firm_s=never, whole=True)


def read_window(reading: Reading, origin: int, need: Need, *, margin: int = 0) -> Window | None:
    """The window for ``need``, beginning ``margin`` entries before the last one that would do.

    None where there is no way to tell which packets they are.
    """
    for back_s in _BACK_S:
        tick = origin + int((need.start_s - back_s) / reading.tick_s)
        try:
            window = _Reader(reading, origin, need, margin).read(tick)
        except LostPlace:
            window = None
        if window is not None:
            return window
        if tick <= origin:
            return None
    return None


class _Reader:
    """One attempt: packets are noted, and forgotten when a later entry will do."""

    def __init__(self, reading: Reading, origin: int, need: Need, margin: int) -> None:
        self._reading = reading
        self._origin = origin
        self._need = need
        self._lead = margin
        self._entries: deque[int] = deque()
        self._times: deque[float] = deque()
        self._late = self._beyond_end = self._beyond_last = 0

    def read(self, tick: int) -> Window | None:
        starts_file = tick <= self._origin
        read = self._reading.from_start() if starts_file else self._reading.from_tick(tick)
        rows, ends_file = PacketRows(self._reading.stream, open_groups=True), True
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
            if self._late > REORDERED and not starts_file and len(self._entries) <= self._lead:
                return None
            if self._is_enough():
                ends_file = False
                break
        if not starts_file and len(self._entries) <= self._lead:
            return None
        table = rows.table()
        table = replace(table, shown=table.shown & (table.pts >= self._origin))
        firm_s = self._times[1] if len(self._times) > 1 else float("inf")
        return Window(table, self._origin, starts_file, ends_file, firm_s)

    def _time(self, packet: Packet[Any]) -> float | None:
        if packet.pts is None:
            return None
        return float((packet.pts - self._origin) * self._reading.tick_s)

    def _begin_later(self, rows: PacketRows, time: float, starts_file: bool) -> bool:
        """Forget what lies before the earliest entry that is still needed."""
        self._entries.append(len(rows) - 1)
        self._times.append(time)
        if len(self._entries) > self._lead + 1:
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
