"""The result of a decode, without the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workers.decoding.plan import Floats, Ints, Selection, clip_times


@dataclass(frozen=True)
class Decoded:
    """Indices and times of decoded frames; see DecodedUnit for the fields."""

    shape: tuple[int, int, int, int]
    clip_frames: Ints
    clip_times: Floats
    frame_count: int
    duration_s: float
    lost_frames: int
    first_clip: int = 0
    clips: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        selection: Selection,
        shape: tuple[int, int, int, int],
        times: Floats,
        duration_s: float,
        lost_frames: int,
    ) -> Decoded:
        """Of a whole video, given the time of every frame."""
        spans = clip_times(times, selection.clips)
        return cls(
            shape,
            selection.rows,
            spans,
            len(times),
            duration_s,
            lost_frames,
            clips=selection.numbers,
        )

    def report(self) -> dict[str, Any]:
        """As plain lists and numbers, for the parent."""
        return {
            "shape": self.shape,
            "clip_frames": self.clip_frames.tolist(),
            "clip_times": self.clip_times.tolist(),
            "frame_count": self.frame_count,
            "duration_s": self.duration_s,
            "lost_frames": self.lost_frames,
            "first_clip": self.first_clip,
            "clips": None if self.clips is None else list(self.clips),
        }
