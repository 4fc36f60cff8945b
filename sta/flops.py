"""FLOPs per view, counted on the model and in closed form.

One FLOP is one multiply-accumulate, as in fvcore and in the paper. The convention "fvcore" counts
matrix products and convolutions, and 5 per element of a layer norm, as fvcore does (the paper's
Table 3). "macs" counts matrix products and convolutions alone (Table 2). Neither counts softmax,
GELU, sorting or gathering.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sta.models.architectures import ModelConfig, SwinConfig, ViTConfig, architecture_config
from sta.models.base import VideoModel
from sta.models.swin_flops import swin_flops
from sta.pruning import Pruning
from sta.score import score_flops

Convention = Literal["fvcore", "macs"]

LAYER_NORM_FLOPS = 5


def _check_convention(convention: str) -> None:
    if convention not in get_args(Convention):
        raise ValueError(
            f"convention must be one of {', '.join(get_args(Convention))}; got {convention!r}"
        )


def count_flops(model: VideoModel, *, convention: Convention = "fvcore") -> int:
    """FLOPs of one view, counted by fvcore on a trace of the model, fused attention included.

    Tracing runs the model once on a random clip, on the model's device. For ViT-H on a CPU this
    takes minutes; `estimate_flops` gives the same number at once.
    """
    from fvcore.nn import FlopCountAnalysis

    _check_convention(convention)
    parameter = next(model.parameters())
    clip = torch.randn(1, *model.config.input_shape, device=parameter.device, dtype=parameter.dtype)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(_Logits(model), clip)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_flops)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    by_operator = analysis.by_operator()
    counted = {name: int(flops) for name, flops in by_operator.items()}
    if convention == "macs":
        counted.pop("layer_norm", None)
    return sum(counted.values())


class _Logits(nn.Module):
    """A model that returns its logits alone, since fvcore traces tensors."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.model(clips).logits
        return logits


def _attention_flops(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """MACs of scaled_dot_product_attention, which fvcore does not count by itself."""
    query, key, value = (operand.type().sizes() for operand in inputs[:3])
    return int(math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def estimate_flops(
    architecture: str | ModelConfig,
    *,
    pruning: Pruning | None = None,
    num_classes: int = 400,
    frames: int | None = None,
    image_size: int | None = None,
    convention: Convention = "fvcore",
) -> int:
    """FLOPs of one view in closed form; equal to `count_flops` of the same model.

    With VideoSwin's sparse window attention, FLOPs depend on the clip. The estimate is then that of
    a clip whose tokens are dropped at random; `clip_flops` gives the number for a given clip.

    Args:
        architecture: name of an architecture, or the shape of a model (`model.config`).
        pruning: None or r = 0 for the unpruned model.
        num_classes: size of the head.
        frames: frames per clip, if not the architecture's own number.
        image_size: height and width in pixels, if not the architecture's own.
        convention: "fvcore" or "macs".

    Raises:
        ValueError: unknown architecture, impossible size, or r too large for a stage.
    """
    _check_convention(convention)
    config = architecture_config(architecture, frames=frames, image_size=image_size)
    pruning = pruning or Pruning()
    norm = _norm_flops(convention)
    if isinstance(config, SwinConfig):
        return int(swin_flops(config, pruning, num_classes=num_classes, norm=norm))
    return _vit_flops(config, pruning, num_classes=num_classes, norm=norm)


def clip_flops(
    model: VideoModel, kept: Sequence[Tensor], *, convention: Convention = "fvcore"
) -> list[int]:
    """FLOPs that a model computed for each clip of a batch.

    Args:
        model: the model.
        kept: the kept-token masks that it returned, (B, n_t, n_s) per pruning stage. An unpruned
            model returns none; the result is then that of one clip.
        convention: "fvcore" or "macs".
    """
    _check_convention(convention)
    norm, classes = _norm_flops(convention), model.head.out_features
    if isinstance(model.config, SwinConfig):
        flops: list[int] = swin_flops(
            model.config, model.pruning, num_classes=classes, norm=norm, kept=kept
        ).tolist()
        return flops
    assert isinstance(model.config, ViTConfig)
    flops_per_clip = _vit_flops(model.config, model.pruning, num_classes=classes, norm=norm)
    return [flops_per_clip] * (len(kept[0]) if kept else 1)


def _norm_flops(convention: Convention) -> int:
    return LAYER_NORM_FLOPS if convention == "fvcore" else 0


def _vit_flops(config: ViTConfig, pruning: Pruning, *, num_classes: int, norm: int) -> int:
    stages = {stage.block: stage for stage in config.stages(pruning)}
    temporal, spatial = config.grid
    tokens, dim = temporal * spatial, config.embed_dim
    total = tokens * dim * 3 * config.tubelet_size * config.patch_size**2
    for block in range(config.depth):
        total += _block_flops(config, tokens) + 2 * norm * tokens * dim
        if block in stages:
            stage = stages[block]
            compared = dim if pruning.similarity == "ffn" else dim // config.num_heads
            total += score_flops(pruning, stage, compared)
            tokens = stage.groups * stage.kept
    return total + norm * dim + dim * num_classes


def _block_flops(config: ViTConfig, tokens: int) -> int:
    """Per token: projections 4 d^2, MLP 2 * ratio * d^2, attention 2 N d."""
    dim = config.embed_dim
    return tokens * dim * dim * (4 + 2 * config.mlp_ratio) + 2 * tokens * tokens * dim
