"""One decode of packets in a row, damage and all, from which the clips of a segment are picked."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame

from workers.decoding.clips import ClipPicker
from workers.decoding.damage import Damage
from workers.decoding.demuxer import Reading
from workers.decoding.plan import REORDERED

_NEVER = float("-inf")


class Clock:
    """Frames' times by their timestamps: seconds since the video's first frame, never going back.

    A frame without a timestamp comes one frame later than the last. One whose timestamp does not
    go on (damage, mostly) is shown at the same time as the last. If that does not end, another
    count has begun, as where recordings were joined, and time goes on from the last frame. Every
    time depends on the frames before it alone, so that all units of a video find the same.

    ``first``: the timestamp of the video's first frame, None until it is known.
    """

    def __init__(self, tick_s: float, frame_s: float, first: int | None = None) -> None:
        self.first = first
        self.restarted = False
        self._tick_s = tick_s
        self._frame_s = frame_s
        self._last = -1.0
        self._offset = 0.0
        self._stuck = 0

    def at(self, pts: int | None) -> float:
        """The time of the next frame, whose timestamp is ``pts``."""
        if self.first is None:
            self.first = pts
        if pts is None or self.first is None:
            time = self._last + self._frame_s if self._last >= 0 else 0.0
        else:
            time = float((pts - self.first) * self._tick_s) + self._offset
        if self._last >= 0 and time <= self._last:
            time = self._stay(time)
        else:
            self._stuck = 0
        self._last = time
        return time

    def _stay(self, time: float) -> float:
        self._stuck += 1
        if self._stuck <= REORDERED:
            return self._last
        going_on = self._last + self._stuck * self._frame_s
        self._offset += going_on - time
        self._stuck = 0
        self.restarted = True
        return going_on


class Ranks:
    """Times of packets, given to frames in the order of display.

    For streams in which a frame's own timestamp is a guess (AVI) or goes with another of two frames
    (packed B-frames). ``delay``: frames that the decoder holds back. ``by_display``: the times are
    those of display, else those of decoding.
    """

    def __init__(self, delay: int, *, by_display: bool) -> None:
        self._delay = delay
        self._by_display = by_display
        self._waiting: list[int] = []

    def add(self, packet: Packet[Any]) -> None:
        """A packet that is about to be decoded."""
        tick = packet.pts if self._by_display else packet.dts
        if tick is not None and not packet.is_discard:
            heappush(self._waiting, tick)

    def next(self) -> int | None:
        """The time of the next frame; those of packets that gave none are passed over."""
        while len(self._waiting) > self._delay + 1:
            heappop(self._waiting)
        return heappop(self._waiting) if self._waiting else None


class Run:
    """A decode on its way. ``damage`` is that of the segment [start_s, end_s) alone.

    ``ranks``: where frames' timestamps come from if their own are not to be relied on.
    """

    def __init__(
        self,
        reading: Reading,
        picker: ClipPicker,
        clock: Clock,
        *,
        segment: tuple[float, float],
        firm_s: float,
        frame_s: float,
        ranks: Ranks | None = None,
    ) -> None:
        self.damage = Damage()
        self.duration_s = float("inf")
        self.packets = 0
        self.frames = 0
        self._reading = reading
        self._picker = picker
        self._clock = clock
        self._stretch = segment
        self._firm_s = firm_s
        self._frame_s = frame_s
        self._ranks = ranks
        self._last_s = 0.0

    def over(self, read: Iterator[Packet[Any] | None]) -> bool:
        """Decode until no later packet matters; False where the result is not beyond doubt.

        That is where something was amiss before ``firm_s``, or where a timestamp lacks, does not go
        on or begins a new count. A run from the start of the file has nothing before it to be in
        doubt of: its ``firm_s`` is minus infinity.
        """
        for packet in with_flush(read):
            self.packets += packet is not None
            if packet is not None and self._ranks is not None:
                self._ranks.add(packet)
            try:
                frames = self._reading.stream.decode(packet)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                time = self._time_of(packet)
                self.damage.refused += self._counts(time)
                if time < self._firm_s:
                    return False
                continue
            for frame in frames:
                if not self._take(frame):
                    return False
            if self._picker.done:
                return True
        self.duration_s = self._picker.held_s + self._last_s
        self._picker.finish(self.duration_s)
        return True

    def _take(self, frame: VideoFrame) -> bool:
        before = self._picker.held_s
        time = self._clock.at(frame.pts if self._ranks is None else self._ranks.next())
        certain = frame.pts is not None and not self._clock.restarted and time > before
        if self._firm_s > _NEVER and (not certain or (frame.is_corrupt and time < self._firm_s)):
            return False
        self.frames += 1
        self.damage.patched += frame.is_corrupt and self._counts(time)
        self._picker.take(time, frame)
        self._last_s = last_frame_s(
            float(frame.duration or 0) * self._reading.tick_s,
            time - before if before >= 0 else 0.0,
            self._frame_s,
        )
        return True

    def _counts(self, time: float) -> bool:
        return self._stretch[0] <= time < self._stretch[1]

    def _time_of(self, packet: Packet[Any] | None) -> float:
        first = self._clock.first
        if packet is None or packet.pts is None or first is None:
            return self._picker.held_s
        return float((packet.pts - first) * self._reading.tick_s)


def last_frame_s(own_s: float, gap_s: float, frame_s: float) -> float:
    """How long the last frame of a video is shown: as it says, else as the one before it."""
    if own_s > 0:
        return own_s
    return gap_s if gap_s > 0 else frame_s


def with_flush(read: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
    """The packets that could be read, then None, which makes the decoder give up the rest."""
    yield from (packet for packet in read if packet is not None)
    yield None
