"""Sequential decode of packets, damaged ones included, that picks the clips of a segment."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame

from workers.decoding.clips import ClipPicker
from workers.decoding.damage import Damage
from workers.decoding.demuxer import Demuxer
from workers.decoding.plan import REORDERED

_NEVER = float("-inf")


class FrameClock:
    """Times of frames from their timestamps: seconds since the video's first frame, ascending.

    A frame without a timestamp comes one frame after the last. A frame whose timestamp is not later
    than the last (mostly damage) gets the time of the last. If that continues, the timestamps have
    restarted, as in joined recordings, and times continue from the last frame. A time depends only
    on the frames before it, so that all segments of a video find the same times.

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
    """Sorted times of packets, assigned to frames in display order.

    For streams in which a frame's own timestamp is a guess (AVI) or may be that of another frame
    (packed B-frames). ``delay``: frames that the decoder holds back. ``by_display``: whether to use
    presentation times (pts), else decoding times (dts).
    """

    def __init__(self, delay: int, *, by_display: bool) -> None:
        self._delay = delay
        self._by_display = by_display
        self._waiting: list[int] = []

    def add(self, packet: Packet[Any]) -> None:
        """Adds the time of a packet that is about to be decoded."""
        tick = packet.pts if self._by_display else packet.dts
        if tick is not None and not packet.is_discard:
            heappush(self._waiting, tick)

    def next(self) -> int | None:
        """The time of the next frame; times of packets that gave no frame are skipped."""
        while len(self._waiting) > self._delay + 1:
            heappop(self._waiting)
        return heappop(self._waiting) if self._waiting else None


class SequentialDecode:
    """A decode of consecutive packets. ``damage`` is that of ``segment``, [start_s, end_s), alone.

    ``ranks``: where frames' times come from if their own timestamps are unreliable.
    """

    def __init__(
        self,
        demuxer: Demuxer,
        picker: ClipPicker,
        clock: FrameClock,
        *,
        segment: tuple[float, float],
        reliable_s: float,
        frame_s: float,
        ranks: Ranks | None = None,
    ) -> None:
        self.damage = Damage()
        self.duration_s = float("inf")
        self.packets = 0
        self.frames = 0
        self._demuxer = demuxer
        self._picker = picker
        self._clock = clock
        self._segment = segment
        self._reliable_s = reliable_s
        self._frame_s = frame_s
        self._ranks = ranks
        self._last_s = 0.0

    def decode(self, read: Iterator[Packet[Any] | None]) -> bool:
        """Decodes until no later packet matters; False where the result may be wrong.

        It may be wrong if a packet before ``reliable_s`` was damaged, or if a timestamp is missing,
        does not increase, or restarts. A decode from the start of the file cannot be wrong in this
        way: its ``reliable_s`` is minus infinity.
        """
        for packet in with_flush(read):
            self.packets += packet is not None
            if packet is not None and self._ranks is not None:
                self._ranks.add(packet)
            try:
                frames = self._demuxer.stream.decode(packet)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                time = self._time_of(packet)
                self.damage.refused += self._counts(time)
                if time < self._reliable_s:
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
        if self._reliable_s > _NEVER and (
            not certain or (frame.is_corrupt and time < self._reliable_s)
        ):
            return False
        self.frames += 1
        self.damage.patched += frame.is_corrupt and self._counts(time)
        self._picker.take(time, frame)
        self._last_s = last_frame_s(
            float(frame.duration or 0) * self._demuxer.tick_s,
            time - before if before >= 0 else 0.0,
            self._frame_s,
        )
        return True

    def _counts(self, time: float) -> bool:
        return self._segment[0] <= time < self._segment[1]

    def _time_of(self, packet: Packet[Any] | None) -> float:
        first = self._clock.first
        if packet is None or packet.pts is None or first is None:
            return self._picker.held_s
        return float((packet.pts - first) * self._demuxer.tick_s)


def last_frame_s(own_s: float, gap_s: float, frame_s: float) -> float:
    """Seconds for which the last frame is shown: its own duration, else that of the one before."""
    if own_s > 0:
        return own_s
    return gap_s if gap_s > 0 else frame_s


def with_flush(read: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
    """The packets that could be read, then None, which flushes the decoder."""
    yield from (packet for packet in read if packet is not None)
    yield None
