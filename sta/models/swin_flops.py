"""FLOPs of a VideoSwin in closed form; `sta.flops` defines the conventions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from sta.models.configs import SWIN_STAGES, SwinConfig
from sta.models.swin_sparse_windows import attended_pairs
from sta.models.swin_windows import WindowGrid, WindowShape, nearest_fill
from sta.pruning import Pruning, PruningStage
from sta.score import fixed_selection, score_flops


def swin_flops(
    config: SwinConfig,
    pruning: Pruning,
    *,
    num_classes: int,
    norm: int,
    kept: Sequence[Tensor] | None = None,
) -> Tensor:
    """FLOPs of each clip.

    With sparse window attention, they depend on the positions of the kept tokens.

    Args:
        config: shape of the model.
        pruning: its pruning.
        num_classes: size of the head.
        norm: FLOPs per element of a layer norm.
        kept: the clips' kept-token masks (B, n_t, n_s), one per pruning stage. Without them, one
            clip whose tokens are dropped at random (drawn with `pruning.seed`) is assumed.

    Returns:
        (B,) int64, on the CPU.
    """
    stages = config.stages(pruning)
    masks = [m.cpu() for m in kept] if kept is not None else [_random(pruning, s) for s in stages]
    at = {stage.block: (stage, mask) for stage, mask in zip(stages, masks, strict=True)}
    tokens, dim = config.stage_tokens(0), config.embed_dim
    total = tokens * dim * (3 * config.tubelet_size * config.patch_size**2 + norm)
    flops = torch.full((len(masks[0]) if masks else 1,), total)
    for number in range(SWIN_STAGES):
        dim, tokens = config.stage_dim(number), config.stage_tokens(number)
        stage, mask = at.get(number, (None, None))
        if stage is not None:
            tokens = stage.groups * stage.kept
            before = config.stage_dim(number - 1)
            heads = 1 if pruning.similarity == "ffn" else config.num_heads[number - 1]
            flops += score_flops(pruning, stage, before // heads)
        blocks = config.depths[number]
        per_token = dim * dim * (4 + 2 * config.mlp_ratio) + 2 * norm * dim
        flops += blocks * tokens * per_token
        sparse = mask is not None and pruning.window_attention == "sparse"
        for shifted in (False, True):
            pairs = _pairs(config, number, mask if sparse else None, shifted=shifted)
            flops += (blocks + (not shifted)) // 2 * 2 * dim * pairs
        if number < SWIN_STAGES - 1:
            merged = config.stage_tokens(number + 1) * 4 * dim
            flops += merged * (2 * dim + norm)
    return flops + tokens * dim * norm + dim * num_classes


def _pairs(config: SwinConfig, number: int, mask: Tensor | None, *, shifted: bool) -> Tensor | int:
    """Pairs of a query and a key in all windows of a stage; per clip if masks are given."""
    grid = config.stage_grid(number)
    shape = WindowShape.fit(grid, config.window_size, shifted=shifted)
    if mask is None:
        return shape.count * shape.tokens**2
    kept = int(mask[0, 0].sum())
    return attended_pairs(nearest_fill(mask, kept=kept, width=grid[2]), WindowGrid(shape))


def _random(pruning: Pruning, stage: PruningStage) -> Tensor:
    """The mask (1, n_t, n_s) of `score="random"`."""
    indices = fixed_selection(dataclasses.replace(pruning, score="random"), stage, grid_size=None)
    assert indices is not None
    mask = torch.zeros(1, stage.groups, stage.tokens, dtype=torch.bool)
    return mask.scatter(-1, indices[None], True)
