"""ToMe: merges the most similar tokens of a clip in every block.

Bolya et al., Token Merging: Your ViT But Faster, ICLR 2023 (sections 3 and 5: video). The tokens of
the whole clip are matched, whatever their time and place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

import sta
from pipeline.lab.baselines.proportional_attention import attend, weighted
from sta.flops import LAYER_NORM_FLOPS
from sta.models.columnar import Block, block_flops
from sta.score import unit_keys
from workers.inference.reduction import ReducedModel, TokenReduction


class Matching(NamedTuple):
    """Which of N tokens merge: some at even indices into some at odd indices.

    Attributes:
        unmerged: (B, ceil(N / 2) - r) places of the other even tokens among the even ones, the most
            similar first.
        merged: (B, r) places of the merged tokens among the even ones.
        into: (B, r) place among the odd ones that each merges into.
    """

    unmerged: Tensor
    merged: Tensor
    into: Tensor


def match(keys: Tensor, r: int) -> Matching:
    """Bipartite soft matching: each even token's most similar odd one, and of these r pairs.

    Args:
        keys: (B, N, d') keys averaged over heads; any scale.
        r: number of pairs, those of largest cosine; at most N // 2.
    """
    keys = unit_keys(keys)
    nearest = (keys[:, 0::2] @ keys[:, 1::2].transpose(-1, -2)).max(dim=-1)
    order = nearest.values.argsort(dim=-1, descending=True, stable=True)
    merged = order[:, :r]
    return Matching(order[:, r:], merged, nearest.indices.gather(1, merged))


def merge(x: Tensor, sizes: Tensor, matching: Matching) -> tuple[Tensor, Tensor]:
    """Merges matched tokens into their mean, weighted by their sizes.

    Args:
        x: (B, N, d) tokens.
        sizes: (B, N) how many tokens each stands for.
        matching: of these tokens.

    Returns:
        (B, N - r, d) tokens and (B, N - r) sizes: the unmerged even ones, then all odd ones.
    """
    total = _sums(sizes[..., None], matching)
    return (_sums(x * sizes[..., None], matching) / total).to(x.dtype), total[..., 0]


def _sums(x: Tensor, matching: Matching) -> Tensor:
    even, odd = x[:, 0::2], x[:, 1::2]

    def index(places: Tensor) -> Tensor:
        return places[..., None].expand(-1, -1, x.shape[-1])

    added = odd.scatter_add(1, index(matching.into), even.gather(1, index(matching.merged)))
    return torch.cat((even.gather(1, index(matching.unmerged)), added), dim=1)


@dataclass(frozen=True)
class ToMe(TokenReduction):
    """Settings of ToMe.

    Attributes:
        r: tokens merged in each block, at most half of those that are left.
        proportional: whether attention is proportional to the sizes. ToMe's authors advise against
            it for models that were trained as masked autoencoders, as VideoMAE was.
    """

    r: int
    proportional: bool = True

    def __post_init__(self) -> None:
        if self.r < 0:
            raise ValueError(f"r must be 0 tokens or more; got {self.r}")

    @property
    def setting(self) -> str:
        """As `TokenReduction.setting`."""
        return f"{self.r} per block"

    def apply(self, model: sta.VideoModel) -> ReducedModel:
        """As `TokenReduction.apply`."""
        if not isinstance(model, sta.VisionTransformer):
            raise ValueError(_refusal(model.architecture))
        return _ToMeModel(model, self)

    def flops(self, config: sta.ModelConfig, *, num_classes: int) -> int:
        """As `TokenReduction.flops`."""
        if not isinstance(config, sta.ViTConfig) or config.backbone != "videomae":
            raise ValueError(_refusal(config.backbone))
        dim, tokens = config.embed_dim, config.grid[0] * config.grid[1]
        total = sta.estimate_flops(config, num_classes=num_classes)
        total -= config.depth * block_flops(tokens, dim, config.hidden_dim, norm=LAYER_NORM_FLOPS)
        mlp = dim * (2 * config.hidden_dim + LAYER_NORM_FLOPS)
        for r in self.merges(config):
            total += block_flops(tokens, dim, config.hidden_dim, norm=LAYER_NORM_FLOPS) - r * mlp
            if r:
                total += (tokens - tokens // 2) * (tokens // 2) * (dim // config.num_heads)
            tokens -= r
        return total

    def merges(self, config: sta.ViTConfig) -> tuple[int, ...]:
        """Tokens merged in each block."""
        tokens, merged = config.grid[0] * config.grid[1], []
        for _ in range(config.depth):
            merged.append(min(self.r, tokens // 2))
            tokens -= merged[-1]
        return tuple(merged)


def _refusal(name: str) -> str:
    return f"tome merges tokens of VideoMAE's ViT, whose head is a mean over tokens; got {name}"


class _ToMeModel(ReducedModel):
    """A ViT that merges tokens between attention and MLP of every block."""

    model: sta.VisionTransformer

    def __init__(self, model: sta.VisionTransformer, settings: ToMe) -> None:
        super().__init__(model)
        self.settings = settings
        self.merges = settings.merges(model.config)

    def forward(self, clips: Tensor) -> sta.ModelOutput:
        """Logits; there are no masks, since no token is dropped."""
        self.model.check_clips(clips)
        x, sizes = self.model.embed(clips), None
        tokens, blocks = x.shape[1], cast("list[Block]", self.model.blocks)
        for block, r in zip(blocks, self.merges, strict=True):
            x, keys = attend(block, x, sizes if self.settings.proportional else None)
            if r:
                if sizes is None:
                    sizes = torch.ones(x.shape[:2], dtype=keys.dtype, device=x.device)
                x, sizes = merge(x, sizes, match(keys, r))
            x = x + block.mlp(block.norm2(x))
        x = x if sizes is None else weighted(x, sizes, tokens)
        return sta.ModelOutput(self.model.classify(self.model.pool(x)), ())

    def clip_flops(self, kept: Sequence[Tensor]) -> list[int]:
        """As `ReducedModel.clip_flops`; the same for all clips."""
        return [self.settings.flops(self.model.config, num_classes=self.model.head.out_features)]
