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


def _crop_size(size: int) -> int:
    """The short side is the crop."""
    return size


def _eight_sevenths(size: int) -> int:
    """The short side is 256 for a crop of 224, and in proportion for others."""
    return size * 256 // 224


@dataclass(frozen=True)
class Recipe:
    """The parts in which published protocols differ.

    ``clip_indices(frame_count, clips, frames)`` gives the (clips, frames) frame indices;
    ``long_side(size, long, short)`` the resized long side; ``offsets(slack, crops)`` the offsets of
    the crops along it, where ``slack`` is the pixels by which the frame is longer than the crop.
    ``short_side(size)`` is the resized short side for crops of ``size`` pixels.
    ``allowed_clips`` and ``allowed_crops`` are None where every positive number is allowed.
    ``stride`` is the step between a clip's frames in dense labeling; None for a recipe that samples
    over the whole video, with which dense labeling is not possible.
    """

    clips: int
    crops: int
    frames: int
    clip_indices: Callable[[int, int, int], IntArray]
    long_side: Callable[[int, int, int], int]
    offsets: Callable[[int, int], list[int]]
    allowed_clips: tuple[int, ...] | None = None
    allowed_crops: tuple[int, ...] | None = None
    stride: int | None = None
    short_side: Callable[[int], int] = _crop_size


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


def _edge_middle_edge(slack: int, crops: int) -> list[int]:
    """Crops from edge to edge as ViViT's test pipeline takes them, whose middle one rounds up."""
    return [slack // 2] if crops == 1 else [0, slack - slack // 2, slack]


PROTOCOLS: Mapping[str, Recipe] = MappingProxyType(
    {
        "videomae-k400": Recipe(5, 3, 16, _every_fourth, _truncated, _spread, stride=4),
        "videomae-ssv2": Recipe(2, 3, 16, _two_grids, _truncated, _spread, allowed_clips=(1, 2)),
        "videoswin-k400": Recipe(
            4,
            3,
            32,
            _every_second_looped,
            _rounded,
            _edge_edge_middle,
            allowed_crops=(1, 3),
            stride=2,
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
            stride=2,
            short_side=_eight_sevenths,
        ),
    }
)
