"""Sizes of a transformers model, and its FLOPs per clip in closed form.

FLOPs are those of the convention "fvcore" in `sta.flops`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sta.flops import LAYER_NORM_FLOPS
from sta.models.columnar import blocks_flops
from sta.models.vjepa2 import pooler_flops
from sta.pruning import Pruning, PruningStage


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        depth: number of layers.
        dim: channels of a token.
        num_heads: attention heads.
        mlp_dim: hidden channels of the MLP.
        channels: channels of the input.
        tubelet: (frames, height, width) in pixels of one token.
        clip: (frames, height, width) in pixels of the input that the configuration names.
        num_classes: outputs of the classifier.
        prefix_tokens: tokens before those of the grid, which are never pruned.
        pooler_layers: self-attention layers of an attentive pooler.
    """

    depth: int
    dim: int
    num_heads: int
    mlp_dim: int
    channels: int
    tubelet: tuple[int, int, int]
    clip: tuple[int, int, int]
    num_classes: int
    prefix_tokens: int = 0
    pooler_layers: int = 0

    def grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """(n_t, rows, columns): the token grid of a clip of this size in pixels."""
        tubelet_frames, patch_height, patch_width = self.tubelet
        # V-JEPA 2 makes a tubelet of each frame of a clip that is shorter than one.
        temporal = frames // tubelet_frames or frames
        return temporal, height // patch_height, width // patch_width


def trunk_flops(
    shape: Shape,
    *,
    grid: tuple[int, int, int],
    pruning: Pruning,
    stages: Sequence[PruningStage],
) -> tuple[int, int]:
    """FLOPs of the embedding, the layers and the score on one clip, and the tokens that are left.

    Args:
        shape: sizes of the model.
        grid: (n_t, rows, columns) of the clip in tokens.
        pruning: the settings.
        stages: the pruning stages for this grid; empty for the unpruned model.

    Returns:
        FLOPs, and the number of tokens after the last layer, prefix tokens included.
    """
    tokens, tubelet = math.prod(grid), math.prod(shape.tubelet)
    blocks, left = blocks_flops(
        tokens,
        pruning=pruning,
        stages=stages,
        depth=shape.depth,
        dim=shape.dim,
        hidden_dim=shape.mlp_dim,
        num_heads=shape.num_heads,
        prefix_tokens=shape.prefix_tokens,
        norm=LAYER_NORM_FLOPS,
    )
    return tokens * shape.dim * shape.channels * tubelet + blocks, left


def mean_head_flops(shape: Shape, tokens: int) -> int:
    """FLOPs of a head that averages tokens, normalizes the mean and classifies it."""
    return shape.dim * (LAYER_NORM_FLOPS + shape.num_classes)


def token_head_flops(shape: Shape, tokens: int) -> int:
    """FLOPs of a head that normalizes all tokens and classifies one of them."""
    return shape.dim * (LAYER_NORM_FLOPS * tokens + shape.num_classes)


def attentive_head_flops(shape: Shape, tokens: int) -> int:
    """FLOPs of a head that normalizes all tokens, pools them by attention and classifies the pool.

    The pooler has self-attention blocks on all tokens; then one query attends to them.
    """
    pooled = pooler_flops(tokens, shape.dim, layers=shape.pooler_layers, norm=LAYER_NORM_FLOPS)
    return token_head_flops(shape, tokens) + pooled
