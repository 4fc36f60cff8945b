"""STA that merges the tokens it drops into the nearest kept ones.

Merging, proportional attention and the weighted mean before the head are ToMe's; which tokens are
kept is STA's choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

import sta
from pipeline.lab.baselines.proportional_attention import attend, weighted
from sta.models.columnar import Block
from sta.models.create import model_from_config
from sta.score import unit_keys
from workers.inference.reduction import ReducedModel, TokenReduction


@dataclass(frozen=True)
class MergedPruning(TokenReduction):
    """Settings of STA with merging.

    Attributes:
        pruning: of STA.
    """

    pruning: sta.Pruning = field(default_factory=sta.Pruning)

    def __post_init__(self) -> None:
        if self.pruning.similarity != "k":
            raise ValueError(
                f"sta-merged compares keys, similarity='k'; got {self.pruning.similarity!r}"
            )

    @property
    def setting(self) -> str:
        """As `TokenReduction.setting`."""
        return str(self.pruning.r)

    def apply(self, model: sta.VideoModel) -> ReducedModel:
        """As `TokenReduction.apply`."""
        if not isinstance(model, sta.VisionTransformer):
            raise ValueError(f"sta-merged needs a VideoMAE ViT; got {model.architecture}")
        return _MergedModel(model, self)

    def flops(self, config: sta.ModelConfig, *, num_classes: int) -> int:
        """As `TokenReduction.flops`."""
        if not isinstance(config, sta.ViTConfig) or config.backbone != "videomae":
            raise ValueError(f"sta-merged needs a VideoMAE ViT; got {config.backbone}")
        total = sta.estimate_flops(config, pruning=self.pruning, num_classes=num_classes)
        for stage in config.stages(self.pruning):
            dropped, kept = stage.groups * stage.drop, stage.groups * stage.kept
            total += dropped * kept * (config.embed_dim // config.num_heads)
        return total


class _MergedModel(ReducedModel):
    def __init__(self, model: sta.VisionTransformer, settings: MergedPruning) -> None:
        # Only its choice of tokens is used, which needs no weights.
        narrow = dataclasses.replace(model.config, embed_dim=model.config.num_heads, mlp_dim=1)
        pruned = model_from_config(
            narrow,
            model.architecture,
            num_classes=model.head.out_features,
            pruning=settings.pruning,
        )
        assert isinstance(pruned, sta.VisionTransformer)
        super().__init__(model, kept_grids=pruned.kept_grids)
        self.vit = model
        self.pruned = pruned.to(model.head.weight.device)
        self.settings = settings

    def forward(self, clips: Tensor) -> sta.ModelOutput:
        """Logits, and one mask per stage."""
        self.vit.check_clips(clips)
        x = self.vit.embed(clips)
        tokens, by_block = x.shape[1], {stage.block: stage for stage in self.pruned.stages}
        positions = torch.arange(tokens, device=x.device).expand(x.shape[0], -1)
        sizes: Tensor | None = None
        kept = []
        for index, block in enumerate(cast("list[Block]", self.vit.blocks)):
            x, keys = attend(block, x, sizes)
            x = x + block.mlp(block.norm2(x))
            if index in by_block:
                places = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
                _, chosen = self.pruned.prune(x, keys, places, by_block[index])
                if sizes is None:
                    sizes = torch.ones(x.shape[:2], dtype=keys.dtype, device=x.device)
                x, sizes = merge_dropped(x, keys, sizes, chosen)
                positions = positions.gather(1, chosen)
                kept.append(self.pruned._mask(positions))
        x = x if sizes is None else weighted(x, sizes, tokens)
        return sta.ModelOutput(self.vit.classify(self.vit.pool(x)), tuple(kept))

    def clip_flops(self, kept: Sequence[Tensor]) -> list[int]:
        """As `ReducedModel.clip_flops`; the same for all clips."""
        return [self.settings.flops(self.vit.config, num_classes=self.vit.head.out_features)]


def merge_dropped(x: Tensor, keys: Tensor, sizes: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Merges every token that is not kept into the kept one of the most similar key.

    Args:
        x: (B, N, d) tokens.
        keys: (B, N, d') keys averaged over heads; any scale.
        sizes: (B, N) how many tokens each stands for.
        kept: (B, M) indices of the kept tokens.

    Returns:
        (B, M, d) means weighted by the sizes, and their (B, M) sizes, in the order of `kept`.
    """
    is_kept = torch.zeros_like(sizes, dtype=torch.uint8).scatter(1, kept, 1)
    dropped = is_kept.argsort(dim=-1, stable=True)[:, : x.shape[1] - kept.shape[1]]
    keys = unit_keys(keys)
    cosines = _rows(keys, dropped) @ _rows(keys, kept).transpose(-1, -2)
    into = cosines.argmax(dim=-1)
    weighted = x * sizes[..., None]
    index = into[..., None].expand(-1, -1, x.shape[-1])
    sums = _rows(weighted, kept).scatter_add(1, index, _rows(weighted, dropped))
    total = sizes.gather(1, kept).scatter_add(1, into, sizes.gather(1, dropped))
    return (sums / total[..., None]).to(x.dtype), total


def _rows(x: Tensor, index: Tensor) -> Tensor:
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
