"""RLT: drops static tubelets before the first block.

Choudhury et al., Don't Look Twice: Faster Video Transformers with Run-Length Tokenization, NeurIPS
2024 (section 3). The encoding of run lengths is left out, as its authors leave it out of models
that were not trained with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import sta
from sta.flops import LAYER_NORM_FLOPS
from sta.models.columnar import ColumnarTransformer, block_flops
from sta.models.create import model_class
from sta.score import kept_mask
from workers.inference.reduction import ReducedModel, TokenReduction

# The threshold of the authors' code, of pixels that are normalized by ImageNet's mean and standard
# deviation.
THRESHOLD = 0.1


def tubelet_changes(clips: Tensor, *, tubelet_size: int, patch_size: int) -> Tensor:
    """How much each tubelet differs from the one before it at the same place.

    Compared are the last frame of a tubelet and the first one of the tubelet before.

    Args:
        clips: (B, 3, T, H, W) normalized pixels.
        tubelet_size: frames of a tubelet.
        patch_size: height and width of a tubelet in pixels.

    Returns:
        (B, n_t - 1, n_s) means of the absolute difference over pixels and channels, of the second
        to the last temporal position.
    """
    last = clips[:, :, 2 * tubelet_size - 1 :: tubelet_size]
    first = clips[:, :, :-tubelet_size:tubelet_size]
    change = (last - first).abs().mean(dim=1)
    batch, times, height, width = change.shape
    rows, columns = height // patch_size, width // patch_size
    patches = change.view(batch, times, rows, patch_size, columns, patch_size)
    return patches.mean(dim=(3, 5)).flatten(2)


@dataclass(frozen=True)
class RLT(TokenReduction):
    """RLT with a fixed number of tokens: for comparisons at equal FLOPs, and static shapes.

    Attributes:
        drop: tubelets dropped from each clip, those that changed least.
    """

    drop: int

    def __post_init__(self) -> None:
        if self.drop < 0:
            raise ValueError(f"drop must be 0 tubelets or more; got {self.drop}")

    @property
    def setting(self) -> str:
        """As `TokenReduction.setting`."""
        return f"{self.drop} per clip"

    def apply(self, model: sta.VideoModel) -> ReducedModel:
        """As `TokenReduction.apply`."""
        model = _columnar(model)
        self._check(model.config)
        return _RLTModel(model, self)

    def flops(self, config: sta.ModelConfig, *, num_classes: int) -> int:
        """As `TokenReduction.flops`."""
        if not isinstance(config, sta.ViTConfig):
            raise ValueError(_refusal(config.backbone))
        self._check(config)
        return rlt_flops(config, self.drop, num_classes=num_classes)

    def _check(self, config: sta.ViTConfig) -> None:
        temporal, spatial = config.grid
        most = (temporal - 1) * spatial
        if self.drop > most:
            raise ValueError(
                f"drop must be 0 to {most}, since all tubelets of the first temporal position "
                f"stay; got {self.drop}"
            )


@dataclass(frozen=True)
class ThresholdRLT(TokenReduction):
    """RLT as published: every tubelet whose change is at most a threshold is dropped.

    Attributes:
        threshold: in units of the normalized pixels.
    """

    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be 0 or more; got {self.threshold}")

    @property
    def setting(self) -> str:
        """As `TokenReduction.setting`."""
        return f"threshold {self.threshold:g}"

    def apply(self, model: sta.VideoModel) -> ReducedModel:
        """As `TokenReduction.apply`."""
        return _ThresholdModel(_columnar(model), self)

    def flops(self, config: sta.ModelConfig, *, num_classes: int) -> int:
        """As `TokenReduction.flops`."""
        return RLT(0).flops(config, num_classes=num_classes)


def rlt_flops(config: sta.ViTConfig, drop: int, *, num_classes: int) -> int:
    """FLOPs of one view of which `drop` tubelets are dropped before the first block."""
    backbone = model_class(config.backbone)
    assert issubclass(backbone, ColumnarTransformer)
    tokens = backbone.prefix_tokens + config.grid[0] * config.grid[1]

    def flops(count: int) -> int:
        block = block_flops(count, config.embed_dim, config.hidden_dim, norm=LAYER_NORM_FLOPS)
        return config.depth * block + backbone.pool_flops(config, count, norm=LAYER_NORM_FLOPS)

    unpruned: int = sta.estimate_flops(config, num_classes=num_classes)
    return unpruned - flops(tokens) + flops(tokens - drop)


def _columnar(model: sta.VideoModel) -> ColumnarTransformer:
    if not isinstance(model, ColumnarTransformer):
        raise ValueError(_refusal(model.architecture))
    return model


def _refusal(name: str) -> str:
    return f"rlt drops tokens of a ViT before its first block; got {name}"


def _changes(model: ColumnarTransformer, clips: Tensor) -> Tensor:
    """(B, (n_t - 1) * n_s) at least float32."""
    dtype = torch.promote_types(clips.dtype, torch.float32)
    sizes = {"tubelet_size": model.config.tubelet_size, "patch_size": model.config.patch_size}
    return tubelet_changes(clips.to(dtype), **sizes).flatten(1)


def _classify(model: ColumnarTransformer, x: Tensor, positions: Tensor) -> Tensor:
    """Logits of embedded tokens (B, prefix_tokens + N, d), of which those at `positions` (B, M) of
    the grid are kept.
    """
    prefix, grid = x[:, : model.prefix_tokens], x[:, model.prefix_tokens :]
    x = torch.cat((prefix, grid.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))), dim=1)
    rotation = model.rotation(positions)
    for block in model.blocks:
        x, _ = block(x, None, rotation)
    logits = model.classify(model.pool(x))
    return logits


class _RLTModel(ReducedModel):
    model: ColumnarTransformer

    def __init__(self, model: ColumnarTransformer, settings: RLT) -> None:
        super().__init__(model, kept_grids=(model.config.grid,))
        self.settings = settings

    def forward(self, clips: Tensor) -> sta.ModelOutput:
        """Logits, and the mask of the kept tokens."""
        self.model.check_clips(clips)
        _, spatial = self.model.config.grid
        # Of equal changes, the lower index is dropped.
        order = _changes(self.model, clips).argsort(dim=-1, stable=True)
        later = order[:, self.settings.drop :].sort(dim=-1).values + spatial
        first = torch.arange(spatial, device=clips.device).expand(len(clips), -1)
        positions = torch.cat((first, later), dim=1)
        logits = _classify(self.model, self.model.embed(clips), positions)
        return sta.ModelOutput(logits, (kept_mask(positions, self.model.config.grid),))

    def clip_flops(self, kept: Sequence[Tensor]) -> list[int]:
        """As `ReducedModel.clip_flops`; the same for all clips."""
        return [self.settings.flops(self.model.config, num_classes=self.model.head.out_features)]


class _ThresholdModel(ReducedModel):
    """Clips have different numbers of tokens and are run one after another."""

    model: ColumnarTransformer

    def __init__(self, model: ColumnarTransformer, settings: ThresholdRLT) -> None:
        super().__init__(model, kept_grids=(model.config.grid,), is_static=False)
        self.settings = settings

    def forward(self, clips: Tensor) -> sta.ModelOutput:
        """Logits, and the mask of the kept tokens."""
        self.model.check_clips(clips)
        temporal, spatial = self.model.config.grid
        changed = _changes(self.model, clips) > self.settings.threshold
        first = torch.ones(len(clips), spatial, dtype=torch.bool, device=clips.device)
        kept = torch.cat((first, changed), dim=1)
        logits = [
            _classify(self.model, x[None], mask.nonzero().T)
            for x, mask in zip(self.model.embed(clips), kept, strict=True)
        ]
        return sta.ModelOutput(torch.cat(logits), (kept.view(-1, temporal, spatial),))

    def clip_flops(self, kept: Sequence[Tensor]) -> list[int]:
        """As `ReducedModel.clip_flops`."""
        dropped = (~kept[0]).flatten(1).sum(dim=1)
        classes = self.model.head.out_features
        return [
            rlt_flops(self.model.config, drop, num_classes=classes) for drop in dropped.tolist()
        ]
