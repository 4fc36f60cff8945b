"""Sampling protocols: which frames of a video form clips, their size, and their crops.

Pure functions of frame counts and sizes; numpy only. Each recipe (`workers.recipes`) is the
test-time protocol with which the published accuracies of its checkpoints were measured, so that
labels agree with those numbers.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sta import architecture_config
from sta.models.backbones import BACKBONES
from workers.recipes import PROTOCOLS as PROTOCOLS
from workers.recipes import IntArray, Recipe

Floats = npt.NDArray[np.float64]

# Times of frames and clips are floats from different sums. Times closer than this are the same: in
# seconds, and in clips.
SAME_S = 1e-6
_SAME_CLIP = 1e-6

# So much longer than a crop that no two crops have the same offset.
_WIDE = 1 << 16

DENSE_VIEWS = (16, 1)

# Clips that early exit has decoded at once: of the first look, of the second; the third has the
# rest.
_LOOK_CLIPS = (1, 1)


@dataclass(frozen=True)
class Protocol:
    """How a video becomes views: ``clips`` clips of ``frames`` frames, each under ``crops`` crops.

    ``name`` is a key of PROTOCOLS, ``size`` the side of the square crop in pixels.

    With ``every_s`` the protocol is dense: clip k starts ``k * every_s`` seconds after the video's
    first frame, for every k within the video. Its first frame is the one on display at that time;
    the others follow at the recipe's stride, and past the end of the video the last frame repeats.
    ``clips`` is then the maximum number of clips per unit.

    Raises ValueError, with the allowed values, for a combination that the recipe does not define.
    """

    name: str
    clips: int
    crops: int
    frames: int = 16
    size: int = 224
    every_s: float | None = None

    def __post_init__(self) -> None:
        recipe = _recipe(self.name)
        if self.every_s is not None:
            _check_dense(self.name, self.every_s)
        for what in ("clips", "crops", "frames", "size"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what} must be 1 or more; got {getattr(self, what)}")
        if recipe.allowed_clips is not None and self.clips not in recipe.allowed_clips:
            raise ValueError(_refusal(self.name, "clips", self.clips, recipe.allowed_clips))
        if recipe.allowed_crops is not None and self.crops not in recipe.allowed_crops:
            raise ValueError(_refusal(self.name, "crops", self.crops, recipe.allowed_crops))

    @property
    def views(self) -> int:
        """Clips times crops: the views of one video, or the most that a segment has."""
        return self.clips * self.crops

    @property
    def stride(self) -> int:
        """Step between the frames of a clip; raises ValueError unless the protocol is dense."""
        stride = _recipe(self.name).stride
        if self.every_s is None or stride is None:
            raise ValueError(f"protocol {self.name} is not dense: every_s is not set")
        return stride(self.frames)

    @property
    def unit_s(self) -> float:
        """Seconds of one segment; raises ValueError unless the protocol is dense."""
        if self.every_s is None:
            raise ValueError(f"protocol {self.name} is not dense: every_s is not set")
        return self.clips * self.every_s

    def clip_numbers(self, start_s: float, end_s: float) -> range:
        """Numbers of the clips that start in [start_s, end_s).

        Whether a clip starts before a boundary depends on the boundary alone, so neighboring
        segments neither share nor lose a clip.
        """
        if self.every_s is None:
            raise ValueError(f"protocol {self.name} is not dense: every_s is not set")
        first, last = (
            max(0, math.ceil(edge / self.every_s - _SAME_CLIP)) for edge in (start_s, end_s)
        )
        return range(first, max(first, last))

    def dense_indices(self, times: Floats, clips: range) -> IntArray:
        """(clips, frames) int64 indices into ``times`` of the clips numbered ``clips``.

        ``times``: (n,) ascending seconds since the video's first frame. They begin at or before the
        frame on display when the first clip starts, and end at the end of the video or after the
        last frame that the clips need.
        """
        if not len(times):
            raise ValueError("times must hold at least 1 frame; got none")
        if self.every_s is None:
            raise ValueError(f"protocol {self.name} is not dense: every_s is not set")
        starts = np.arange(clips.start, clips.stop, dtype=np.float64) * self.every_s
        shown = np.searchsorted(times, starts + SAME_S, side="right") - 1
        steps = self.stride * np.arange(self.frames, dtype=np.int64)
        indices = np.maximum(shown, 0)[:, None] + steps
        return np.minimum(indices, len(times) - 1).astype(np.int64)

    def clip_indices(self, frame_count: int) -> IntArray:
        """Frames of each clip: (clips, frames) int64 indices into a video of ``frame_count``.

        Works from one frame up; a video shorter than a clip repeats frames as its recipe says.
        """
        if frame_count < 1:
            raise ValueError(f"frame_count must be 1 or more; got {frame_count}")
        return _recipe(self.name).clip_indices(frame_count, self.clips, self.frames)

    @property
    def short_side(self) -> int:
        """Pixels of the short side of a resized frame: ``size``, or more where crops are smaller
        than the frame.
        """
        return _recipe(self.name).short_side(self.size, self.crops)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the resized frame: the short side becomes ``short_side``."""
        if height < 1 or width < 1:
            raise ValueError(f"a frame must have at least 1 x 1 pixels; got {height} x {width}")
        short, long_side = self.short_side, _recipe(self.name).long_side
        if width < height:
            return long_side(short, height, width), short
        return short, long_side(short, width, height)

    @property
    def views_in_order(self) -> list[tuple[int, int]]:
        """Every (clip, crop) of a video in the order of `view_order`."""
        offsets = _recipe(self.name).offsets(_WIDE, self.crops)
        return view_order(self.clips, sorted(range(self.crops), key=offsets.__getitem__))

    def looks(self, max_views: int | None = None) -> list[tuple[int, ...]]:
        """Numbers of the clips that early exit has decoded together: first, second, and so on.

        ``max_views``: views that may be evaluated at most; None for all.
        """
        clips = list(dict.fromkeys(clip for clip, _ in self.views_in_order[:max_views]))
        ends = [*itertools.accumulate(_LOOK_CLIPS), len(clips)]
        spans = itertools.pairwise([0, *ends])
        return [tuple(sorted(clips[a:b])) for a, b in spans if clips[a:b]]

    def crop_origins(self, height: int, width: int) -> IntArray:
        """(crops, 2) int64 (top, left) of each crop within a frame of ``resized`` size."""
        if min(height, width) < self.size:
            raise ValueError(f"a {self.size} pixel crop does not fit into {height} x {width}")
        offsets = _recipe(self.name).offsets
        if height > width:
            places = [
                (top, (width - self.size) // 2) for top in offsets(height - self.size, self.crops)
            ]
        else:
            places = [
                ((height - self.size) // 2, left) for left in offsets(width - self.size, self.crops)
            ]
        return np.array(places, dtype=np.int64)


def protocol(
    name: str,
    *,
    size: int = 224,
    frames: int | None = None,
    views: tuple[int, int] | None = None,
    every_s: float | None = None,
) -> Protocol:
    """The protocol called ``name``; with ``every_s`` dense, a clip every so many seconds.

    ``frames`` per clip and ``views``, (clips, crops), default to the published ones; ``views`` of a
    dense protocol to DENSE_VIEWS.
    """
    recipe = _recipe(name)
    if views is None:
        views = (recipe.clips, recipe.crops) if every_s is None else DENSE_VIEWS
    frames = recipe.frames if frames is None else frames
    return Protocol(name, *views, frames=frames, size=size, every_s=every_s)


def parse_views(text: str) -> tuple[int, int]:
    """(clips, crops) of a text such as "5x3"; ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d{1,4})\s*[xX]\s*(\d{1,4})\s*", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise ValueError(
            f"views must be CLIPSxCROPS, both 1 or more, such as 5x3 or 1x1; got {text!r}"
        )
    return int(match[1]), int(match[2])


def parse_seconds(text: str) -> float:
    """Seconds of a text such as "2s", "500ms", "1.5", "2m" or "1h"; ValueError for others."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*(ms|s|m|h)?\s*", text)
    seconds = float(match[1]) * _UNITS_S[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise ValueError(
            f"a time must be a number above 0 with ms, s, m or h, such as 2s or 500ms; got {text!r}"
        )
    return seconds


def parse_duration(text: str) -> float:
    """As `parse_seconds`, but the unit is required: a deadline of 8 is hardly meant in seconds."""
    if text.strip()[-1:].isdigit():
        raise ValueError(f"{text!r} needs a unit: 8h is eight hours, 90m ninety minutes")
    return parse_seconds(text)


_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _check_dense(name: str, every_s: float) -> None:
    if not (math.isfinite(every_s) and every_s > 0):
        raise ValueError(f"every_s must be a number of seconds above 0; got {every_s}")
    if _recipe(name).stride is None:
        dense = [known for known, recipe in PROTOCOLS.items() if recipe.stride is not None]
        raise ValueError(
            f"protocol {name} samples the whole video and cannot be dense; use {' or '.join(dense)}"
        )


def _recipe(name: str) -> Recipe:
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}") from None


def _refusal(name: str, what: str, value: int, allowed: tuple[int, ...]) -> str:
    return f"protocol {name} allows {' or '.join(map(str, allowed))} {what}; got {value}"


def default_protocol(architecture: str, task: str) -> str:
    """Name of the protocol for an architecture of `sta.ARCHITECTURES` and a task (k400, ssv2).

    Raises:
        ValueError: the architecture is unknown, or no checkpoint of its backbone is evaluated on
            the task.
    """
    backbone = architecture_config(architecture).backbone
    name = f"{BACKBONES[backbone].protocols}-{task}"
    if name not in PROTOCOLS:
        raise ValueError(
            f"{architecture} has no default protocol for {task}; choose one of "
            f"{', '.join(PROTOCOLS)}"
        )
    return name


def view_order(clips: int, across: Sequence[int]) -> list[tuple[int, int]]:
    """Every (clip, crop) once, in evaluation order: all crops of a clip, then those of the next.

    Clips come one after another, since each that is not needed need not be decoded. Of the crops
    the middle one comes first, then each as far as possible from those before.

    Args:
        clips: number of clips.
        across: numbers of the crops, from one edge of the frame to the other.
    """
    return [
        (clip, across[place]) for clip in range(clips) for place in _farthest_first(len(across))
    ]


def _farthest_first(count: int) -> list[int]:
    """0 to count - 1, the middle first, then each as far as possible from those before; ties go to
    the lower number.
    """
    order = [count // 2]
    rest = [place for place in range(count) if place != order[0]]
    while rest:
        farthest = max(rest, key=lambda place: (min(abs(place - o) for o in order), -place))
        order.append(farthest)
        rest.remove(farthest)
    return order
