"""Picks the clips of a segment from frames as the decoder gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from av.video.frame import VideoFrame

from workers.decoding.frames import FrameStore, RgbConverter
from workers.decoding.plan import MOST_CLIPS
from workers.decoding.result import Decoded
from workers.decoding.seek_window import Need
from workers.failures import ErrorType, UnitFailure
from workers.sampling import SAME_S, Protocol


def check_clips(count: int, need: Need, duration_s: float) -> None:
    """Raise UnitFailure for a segment without clips, and for more than one unit can hold."""
    if count < 1:
        raise UnitFailure(
            ErrorType.too_short,
            f"no clip starts in the segment that begins at {need.start_s:g} s; the video is "
            f"{duration_s:.2f} s long",
        )
    if count > MOST_CLIPS:
        raise UnitFailure(
            ErrorType.too_large, f"the unit has {count:,} clips; the limit is {MOST_CLIPS:,}"
        )


@dataclass
class _Clip:
    first: int
    first_s: float
    last_s: float
    rows: list[int] = field(default_factory=list)


class ClipPicker:
    """Takes frames in display order and keeps those that the clips of a segment need.

    These are the frames of `Protocol.dense_indices`, found without all times in advance: one
    frame is held back, as only the time of the next says how long it is displayed. ``done``: no
    later frame is needed.
    """

    def __init__(self, protocol: Protocol, need: Need, store: FrameStore) -> None:
        assert protocol.every_s is not None
        self.done = False
        self.frame_count = 0
        self._protocol = protocol
        self._every_s = protocol.every_s
        self._need = need
        self._store = store
        self._converter = RgbConverter()
        endless = need.end_s == float("inf")
        last = need.start_s if endless else need.end_s
        numbers = protocol.clip_numbers(need.start_s, last)
        self._first_clip = self._next_clip = numbers.start
        self._last_clip = None if endless else numbers.stop
        self._open: list[_Clip] = []
        self._clips: list[_Clip] = []
        self._held: tuple[int, float, VideoFrame] | None = None
        self._placed: list[int] = []

    @property
    def held_s(self) -> float:
        """Time of the last frame that was taken; below 0 before there is one."""
        return -1.0 if self._held is None else self._held[1]

    def take(self, time: float, frame: VideoFrame) -> None:
        """The next frame, shown from ``time`` on, seconds since the video's first frame."""
        number = 0
        if self._held is not None:
            number = self._held[0] + 1
            self._settle(time)
        if not self.done:
            self._held = number, time, frame

    def finish(self, duration_s: float) -> None:
        """No frame follows: the last one stays for all that clips still lack."""
        if self.done or self._held is None:
            return
        end = self._protocol.clip_numbers(self._need.start_s, min(self._need.end_s, duration_s))
        self._last_clip = end.stop
        self._settle(float("inf"))
        if self._open:
            row = self._place()
            for clip in self._open:
                clip.rows += [row] * (self._protocol.frames - len(clip.rows))
                clip.last_s = self.held_s

    def decoded(self, duration_s: float, lost_frames: int) -> Decoded:
        """What was picked; raises UnitFailure where there is no clip.

        ``duration_s`` is the whole video's, or infinite where its end was not reached.
        """
        check_clips(len(self._clips), self._need, max(self.held_s, 0.0))
        return Decoded(
            shape=self._store.shape,
            clip_frames=np.array([clip.rows for clip in self._clips], dtype=np.int64),
            clip_times=np.array([(c.first_s, c.last_s) for c in self._clips], dtype=np.float64),
            frame_count=self.frame_count,
            duration_s=min(self._need.end_s, duration_s) - self._need.start_s,
            lost_frames=lost_frames,
            first_clip=self._first_clip,
        )

    def _settle(self, until: float) -> None:
        """Decide on the frame that is held, on display until ``until``."""
        assert self._held is not None
        number, time, _ = self._held
        start, end = self._need.start_s - SAME_S, self._need.end_s - SAME_S
        self.frame_count += start <= time < end
        while self._next_clip * self._every_s + SAME_S < until and not self._all_begun():
            clip = _Clip(number, time, time)
            self._clips.append(clip)
            self._open.append(clip)
            self._next_clip += 1
            check_clips(len(self._clips), self._need, time)
        takers = [c for c in self._open if (number - c.first) % self._protocol.stride == 0]
        if takers:
            row = self._place()
            for clip in takers:
                clip.rows.append(row)
                clip.last_s = time
            self._open = [c for c in self._open if len(c.rows) < self._protocol.frames]
        self.done = self._all_begun() and not self._open and until >= end

    def _all_begun(self) -> bool:
        return self._last_clip is not None and self._next_clip >= self._last_clip

    def _place(self) -> int:
        """The row of the frame that is held."""
        assert self._held is not None
        number, _, frame = self._held
        if not self._placed or self._placed[-1] != number:
            self._store.place(len(self._placed), self._converter.rgb(frame))
            self._placed.append(number)
        return len(self._placed) - 1
