"""STA that merges the tokens it drops into the nearest kept ones.

Merging, proportional attention and the weighted mean before the head are ToMe's; which tokens are
kept is STA's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

import sta
from pipeline.lab.baselines.proportional_attention import attend, weighted
from sta.models.columnar import Block
from sta.score import choose_tokens, fixed_selection, kept_mask, unit_keys
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
    model: sta.VisionTransformer

    def __init__(self, model: sta.VisionTransformer, settings: MergedPruning) -> None:
        super().__init__(model, kept_grids=model.config.kept_grids(settings.pruning))
        self.settings = settings
        self.stages = {stage.block: stage for stage in model.config.stages(settings.pruning)}
        for block, stage in self.stages.items():
            grid_size = model.config.grid_size
            fixed = fixed_selection(settings.pruning, stage, grid_size=grid_size)
            self.register_buffer(f"fixed_selection_{block}", fixed, persistent=False)
        self.to(model.head.weight.device)

    def forward(self, clips: Tensor) -> sta.ModelOutput:
        """Logits, and one mask per stage."""
        self.model.check_clips(clips)
        x = self.model.embed(clips)
        tokens = x.shape[1]
        positions = torch.arange(tokens, device=x.device).expand(x.shape[0], -1)
        sizes: Tensor | None = None
        kept = []
        for index, block in enumerate(cast("list[Block]", self.model.blocks)):
            x, keys = attend(block, x, sizes)
            x = x + block.mlp(block.norm2(x))
            if index in self.stages:
                chosen = choose_tokens(
                    x,
                    keys,
                    pruning=self.settings.pruning,
                    stage=self.stages[index],
                    fixed=getattr(self, f"fixed_selection_{index}"),
                )
                if sizes is None:
                    sizes = torch.ones(x.shape[:2], dtype=keys.dtype, device=x.device)
                x, sizes = merge_dropped(x, keys, sizes, chosen)
                positions = positions.gather(1, chosen)
                kept.append(kept_mask(positions, self.model.config.grid))
        x = x if sizes is None else weighted(x, sizes, tokens)
        return sta.ModelOutput(self.model.classify(self.model.pool(x)), tuple(kept))

    def clip_flops(self, kept: Sequence[Tensor]) -> list[int]:
        """As `ReducedModel.clip_flops`; the same for all clips."""
        return [self.settings.flops(self.model.config, num_classes=self.model.head.out_features)]


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
