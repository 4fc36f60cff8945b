"""Which frames a unit takes from a folder of pictures: frame i is shown at i / fps seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from workers.decoding.plan import MOST_CLIPS, Floats, Ints, select
from workers.decoding.types import Unit
from workers.sampling import SAME_S, Protocol


@dataclass(frozen=True)
class Sample:
    """The frames that a unit takes from a folder: those of all clips, whichever it asks for. A
    picture that cannot be read is replaced by the one before, which may be of another clip.

    Attributes:
        clips: (clips, T) indices of frames.
        times: seconds of every frame of the video.
        first: first frame of the unit.
        last: the frame behind its last.
        duration_s: seconds of the video, of its segment in dense labeling.
        first_clip: number of the first clip in the video.
    """

    clips: Ints
    times: Floats
    first: int
    last: int
    duration_s: float
    first_clip: int = 0


def sampled(count: int, fps: float, unit: Unit, protocol: Protocol) -> Sample:
    """The frames that ``protocol`` takes from a unit of a video of ``count`` frames.

    No clip in dense labeling means that none begins in the unit, or that it has too many. Raises
    UnitFailure as `select`.
    """
    times = np.arange(count, dtype=np.float64) / fps
    whole_s = count / fps
    if protocol.every_s is None:
        clips = select(times, replace(unit, clips=None), protocol).clips
        return Sample(clips, times, 0, count, whole_s)
    start_s = unit.start_s or 0.0
    end_s = whole_s if unit.end_s is None else min(unit.end_s, whole_s)
    numbers = protocol.clip_numbers(start_s, end_s)
    if len(numbers) > MOST_CLIPS:
        numbers = range(0)
    clips = protocol.dense_indices(times, numbers)
    first, last = np.searchsorted(times, np.array([start_s, end_s]) - SAME_S)
    return Sample(clips, times, int(first), int(last), end_s - start_s, numbers.start)
