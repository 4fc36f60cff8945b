"""Recipes of the published test-time protocols: indices of frames, sizes and crops.

Pure functions of frame counts and sizes; numpy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def _crop_size(size: int, crops: int) -> int:
    """The short side is the crop."""
    return size


def _eight_sevenths(size: int, crops: int) -> int:
    """The short side is 256 for a crop of 224, and in proportion for others."""
    return size * 256 // 224


def _margin_around_one(size: int, crops: int) -> int:
    """V-JEPA 2: 256 for a single crop of 224, and in proportion; several are as high as the frame.

    The first is what the processor beside its checkpoints does, the second its own evaluation.
    """
    return _eight_sevenths(size, crops) if crops == 1 else size


@dataclass(frozen=True)
class Recipe:
    """The parts in which published protocols differ.

    ``clip_indices(frame_count, clips, frames)`` gives the (clips, frames) frame indices;
    ``long_side(size, long, short)`` the resized long side; ``offsets(slack, crops)`` the offsets of
    the crops along it, where ``slack`` is the pixels by which the frame is longer than the crop.
    ``short_side(size, crops)`` is the resized short side for crops of ``size`` pixels.
    ``allowed_clips`` and ``allowed_crops`` are None where every positive number is allowed.
    ``stride(frames)`` is the step between a clip's frames in dense labeling; None for a recipe that
    samples over the whole video, with which dense labeling is not possible.
    """

    clips: int
    crops: int
    frames: int
    clip_indices: Callable[[int, int, int], IntArray]
    long_side: Callable[[int, int, int], int]
    offsets: Callable[[int, int], list[int]]
    allowed_clips: tuple[int, ...] | None = None
    allowed_crops: tuple[int, ...] | None = None
    stride: Callable[[int], int] | None = None
    short_side: Callable[[int, int], int] = _crop_size


def _every_fourth(frame_count: int, clips: int, frames: int) -> IntArray:
    """VideoMAE on K400: every 4th frame of the whole video, clips spread evenly over that list."""
    strided = np.arange(0, frame_count, 4, dtype=np.int64)
    padding = np.full(max(frames - len(strided), 0), strided[-1], dtype=np.int64)
    strided = np.concatenate([strided, padding])
    slack = len(strided) - frames
    starts = (
        [int(slack / 2)] if clips == 1 else [int(c * (slack / (clips - 1))) for c in range(clips)]
    )
    return strided[np.array(starts)[:, None] + np.arange(frames)]


def _two_grids(frame_count: int, clips: int, frames: int) -> IntArray:
    """VideoMAE on SSv2: two grids of one frame per segment, half a segment apart.

    Two clips are the even and the odd frames of both grids together; one clip is the grid of the
    segments' middles, with which the model was also trained.
    """
    tick = frame_count / frames
    middles = [int(tick / 2 + tick * x) for x in range(frames)]
    if clips == 1:
        return np.array([middles], dtype=np.int64)
    both = np.array(sorted(middles + [int(tick * x) for x in range(frames)]), dtype=np.int64)
    return np.stack([both[0::2], both[1::2]])


def _every_second_looped(frame_count: int, clips: int, frames: int) -> IntArray:
    """VideoSwin on K400: clips at interval 2, each in the middle of its part, looped at the end."""
    span = 2 * (frames - 1) + 1
    part = (frame_count - span) / clips
    long_enough = frame_count > span
    starts = [int(i * part + part / 2) if long_enough else 0 for i in range(clips)]
    runs = np.array(starts, dtype=np.int64)[:, None] + 2 * np.arange(frames, dtype=np.int64)
    return runs % frame_count


def _segment_middles(frame_count: int, clips: int, frames: int) -> IntArray:
    """VideoSwin on SSv2: the middle of each of ``frames`` segments."""
    segment = (frame_count - 1) / frames
    edges = [round(segment * i) for i in range(frames + 1)]
    middles = [(a + b) // 2 for a, b in itertools.pairwise(edges)]
    return np.array([middles] * clips, dtype=np.int64)


def _every_second_end_to_end(frame_count: int, clips: int, frames: int) -> IntArray:
    """ViViT on K400: clips at interval 2 from the video's start to its end, looped at the end.

    One clip is the middle of the video.
    """
    slack = max(frame_count - 2 * frames, 0)
    starts = [slack // 2] if clips == 1 else [c * slack // (clips - 1) for c in range(clips)]
    runs = np.array(starts, dtype=np.int64)[:, None] + 2 * np.arange(frames, dtype=np.int64)
    return runs % frame_count


def _vjepa2_step(frames: int) -> int:
    """V-JEPA 2: the published classifiers of 16 frames were evaluated at step 4, others at 2."""
    return 4 if frames <= 16 else 2


def _windows(frame_count: int, clips: int, frames: int) -> IntArray:
    """V-JEPA 2: a window per equal part of the video; windows overlap where parts are shorter.

    A window spans ``frames`` steps. In a part that is longer it is the middle one, where V-JEPA 2
    draws a random one. Otherwise the windows reach from the start of the video to its end, all the
    same for a video shorter than a window, which repeats its last frame.
    """
    step = _vjepa2_step(frames)
    span, part = step * frames, frame_count // clips
    if part > span:
        within = np.minimum(np.linspace(0, span, frames), span - 1)
        starts = [c * part + (part - span) // 2 for c in range(clips)]
    else:
        last = min(span, frame_count) - 1
        spread = np.linspace(0, last, last // step)
        padding = np.full(frames - len(spread), last)
        within = np.minimum(np.concatenate([spread, padding]), max(last - 1, 0))
        apart = max(frame_count - span, 0) // max(clips - 1, 1)
        starts = [c * apart for c in range(clips)]
    return np.array(starts, dtype=np.int64)[:, None] + within.astype(np.int64)


def _truncated(size: int, long: int, short: int) -> int:
    return int(size * long / short)


def _rounded(size: int, long: int, short: int) -> int:
    return int(long * (size / short) + 0.5)


def _spread(slack: int, crops: int) -> list[int]:
    """Crops from edge to edge; a single one is the center."""
    if crops == 1:
        return [slack // 2]
    return [int(i * (slack / (crops - 1))) for i in range(crops)]


def _edge_edge_middle(slack: int, crops: int) -> list[int]:
    """Three crops in the order first edge, last edge, middle, as VideoSwin's test pipeline."""
    return [slack // 2] if crops == 1 else [0, 2 * (slack // 2), slack // 2]


def _even_steps(slack: int, crops: int) -> list[int]:
    """Crops at equal whole steps, from the first edge; a single one is the center."""
    return [round(slack / 2)] if crops == 1 else [i * (slack // (crops - 1)) for i in range(crops)]


def _every(step: int) -> Callable[[int], int]:
    """A step that does not depend on the frames of a clip."""
    return lambda frames: step


def _edge_middle_edge(slack: int, crops: int) -> list[int]:
    """Crops from edge to edge as ViViT's test pipeline takes them, whose middle one rounds up."""
    return [slack // 2] if crops == 1 else [0, slack - slack // 2, slack]


PROTOCOLS: Mapping[str, Recipe] = MappingProxyType(
    {
        "videomae-k400": Recipe(5, 3, 16, _every_fourth, _truncated, _spread, stride=_every(4)),
        "videomae-ssv2": Recipe(2, 3, 16, _two_grids, _truncated, _spread, allowed_clips=(1, 2)),
        "videoswin-k400": Recipe(
            4,
            3,
            32,
            _every_second_looped,
            _rounded,
            _edge_edge_middle,
            allowed_crops=(1, 3),
            stride=_every(2),
        ),
        "videoswin-ssv2": Recipe(
            1, 3, 32, _segment_middles, _rounded, _edge_edge_middle, (1,), (1, 3)
        ),
        # ViViT's configs/kinetics400/vivit_base_k400.py, read by the samplers of DMVR.
        "vivit-k400": Recipe(
            4,
            3,
            32,
            _every_second_end_to_end,
            _truncated,
            _edge_middle_edge,
            allowed_crops=(1, 3),
            stride=_every(2),
            short_side=_eight_sevenths,
        ),
        # V-JEPA 2's configs/eval (8 segments for Kinetics, 2 for SSv2, 3 views of each), read by
        # its evals/video_classification_frozen. There one pooler attends to the tokens of all clips
        # under the same crop; here each clip is classified by itself, as in transformers.
        **{
            f"vjepa2-{task}": Recipe(
                clips,
                3,
                16,
                _windows,
                _truncated,
                _even_steps,
                stride=_vjepa2_step,
                short_side=_margin_around_one,
            )
            for task, clips in (("k400", 8), ("ssv2", 2))
        },
    }
)
