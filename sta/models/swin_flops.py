"""FLOPs of a VideoSwin in closed form; `sta.flops` says what is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from sta.models.swin import STAGES, SwinConfig
from sta.models.swin_sparse_windows import attended_pairs
from sta.models.swin_windows import WindowGrid, WindowShape, fill
from sta.pruning import Pruning, Stage
from sta.score import fixed_kept, score_flops


def swin_flops(
    config: SwinConfig,
    pruning: Pruning,
    *,
    num_classes: int,
    norm: int,
    kept: Sequence[Tensor] | None = None,
) -> Tensor:
    """FLOPs of each clip.

    The exact form computes as many pairs of query and key as the places of the kept tokens ask for.

    Args:
        config: shape of the model.
        pruning: its pruning.
        num_classes: size of the head.
        norm: FLOPs per element of a layer norm.
        kept: the clips' masks (B, n_t, n_s), one per pruning stage; without them, those of one
            clip whose tokens are dropped at random places (drawn with `pruning.seed`).

    Returns:
        (B,) int64, on the CPU.
    """
    stages = config.stages(pruning)
    masks = [m.cpu() for m in kept] if kept is not None else [_random(pruning, s) for s in stages]
    at = {stage.block: (stage, mask) for stage, mask in zip(stages, masks, strict=True)}
    places = config.stage_places(0)
    width = config.width
    total = places * width * (3 * config.tubelet * config.patch_size**2 + norm)
    flops = torch.full((len(masks[0]) if masks else 1,), total)
    for number in range(STAGES):
        width, places = config.stage_width(number), config.stage_places(number)
        tokens = places
        stage, mask = at.get(number, (None, None))
        if stage is not None:
            tokens = stage.groups * stage.kept
            before = config.stage_width(number - 1)
            compared = before if pruning.similarity == "ffn" else before // config.heads[number - 1]
            flops += score_flops(pruning, stage, compared)
        blocks = config.depths[number]
        per_token = width * width * (4 + 2 * config.mlp_ratio) + 2 * norm * width
        flops += blocks * tokens * per_token
        exact = mask is not None and pruning.window_attention == "exact"
        for shifted in (False, True):
            pairs = _pairs(config, number, mask if exact else None, shifted=shifted)
            flops += (blocks + (not shifted)) // 2 * 2 * width * pairs
        if number < STAGES - 1:
            merged = config.stage_places(number + 1) * 4 * width
            flops += merged * (2 * width + norm)
    return flops + tokens * width * norm + width * num_classes


def _pairs(config: SwinConfig, number: int, mask: Tensor | None, *, shifted: bool) -> Tensor | int:
    """Pairs of a query and a key in all windows of a stage; per clip if masks are given."""
    grid = config.stage_grid(number)
    shape = WindowShape.fit(grid, config.window, shifted=shifted)
    if mask is None:
        return shape.count * shape.tokens**2
    kept = int(mask[0, 0].sum())
    return attended_pairs(fill(mask, kept=kept, width=grid[2]), WindowGrid(shape))


def _random(pruning: Pruning, stage: Stage) -> Tensor:
    """The mask (1, n_t, n_s) of `score="random"`."""
    places = fixed_kept(dataclasses.replace(pruning, score="random"), stage, side=None)
    assert places is not None
    mask = torch.zeros(1, stage.groups, stage.tokens, dtype=torch.bool)
    return mask.scatter(-1, places[None], True)
