"""One view of a video: its frames and the tokens that each pruning stage kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import sta

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# The paper's Figure 4 has white boxes where tokens were dropped.
DROPPED = 255


@dataclass(frozen=True)
class StageMap:
    """What one pruning stage kept.

    Attributes:
        name: where in the model the stage is.
        cell: side in pixels of a token's square; squares of the last row and column may stick out.
        kept: bool (n_t, rows, columns), True = kept.
    """

    name: str
    cell: int
    kept: Mask


@dataclass(frozen=True)
class ViewTokens:
    """Frames and kept tokens of one view.

    Attributes:
        video_id: whose it is.
        clip: number of its clip.
        crop: number of its crop.
        start_s: time of its first frame in the video, seconds.
        end_s: time of its last frame, seconds.
        frames: uint8 (T, height, width, 3) RGB, resized and cropped as the model received them.
        stages: the pruning stages in order, none for a model without pruning.
    """

    video_id: str
    clip: int
    crop: int
    start_s: float
    end_s: float
    frames: Pixels
    stages: tuple[StageMap, ...]

    @property
    def slots(self) -> int:
        """Temporal positions n_t, tokens along time; without pruning the number of frames."""
        return len(self.stages[0].kept) if self.stages else len(self.frames)

    def slot(self, frame: int) -> int:
        """The temporal position that a frame belongs to."""
        return frame * self.slots // len(self.frames)

    def first_frame(self, slot: int) -> int:
        """The first frame of a temporal position."""
        return -(-slot * len(self.frames) // self.slots)


def stage_maps(
    architecture: str, pruning: sta.Pruning, *, frames: int, size: int, kept: list[Mask]
) -> tuple[StageMap, ...]:
    """Names and token sizes for the kept maps (n_t, rows, columns) of a model's stages.

    Raises:
        ValueError: the maps are not those of this model.
    """
    config = sta.architecture_config(architecture, frames=frames, image_size=size)
    if tuple(mask.shape for mask in kept) != config.token_grids(pruning):
        raise ValueError(f"the kept maps are not those of {architecture} with r = {pruning.r}")
    names, cells = config.stage_names(pruning), config.token_pixels(pruning)
    return tuple(StageMap(*parts) for parts in zip(names, cells, kept, strict=True))


def kept_pixels(view: ViewTokens, stage: int, frame: int) -> Mask:
    """bool (height, width): the pixels of a frame in kept tokens of a stage, counted from 0."""
    shown = view.stages[stage]
    return _spread(shown.kept[view.slot(frame)], shown.cell, view.frames.shape[1:3])


def masked(view: ViewTokens, stage: int, frame: int) -> Pixels:
    """uint8 (height, width, 3): a frame whose dropped tokens at a stage are white."""
    out: Pixels = view.frames[frame].copy()
    out[~kept_pixels(view, stage, frame)] = DROPPED
    return out


def dropped_at(view: ViewTokens) -> npt.NDArray[np.int8]:
    """int8 (n_t, rows, columns) on the first stage's grid: the first stage that dropped each token.

    Stages count from 1; 0 is a token that no stage dropped. Where patches merge from stage to
    stage, a token is dropped with the larger token that it became part of.
    """
    finest = view.stages[0]
    first: npt.NDArray[np.int8] = np.zeros(finest.kept.shape, dtype=np.int8)
    for number, stage in enumerate(view.stages, start=1):
        times = stage.cell // finest.cell
        kept = np.stack([_spread(kept, times, finest.kept.shape[1:]) for kept in stage.kept])
        first[(first == 0) & ~kept] = number
    return first


def _spread(mask: Mask, times: int, sides: tuple[int, ...]) -> Mask:
    """A mask with each entry `times` x `times` large, cut to (height, width)."""
    height, width = sides
    return mask.repeat(times, axis=0).repeat(times, axis=1)[:height, :width]
