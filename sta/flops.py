"""FLOPs per view, counted on the model and in closed form.

One FLOP here is one multiply-accumulate, fvcore's convention and the paper's. `convention="fvcore"`
adds 5 per element of a layer norm, as fvcore's total does (Table 3 rounds from it); "macs" counts
matrix products and convolutions alone (Table 2 rounds from it). Neither counts softmax, GELU,
sorting or gathering.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sta.models.architectures import architecture_config
from sta.models.base import ModelConfig, VideoModel
from sta.models.swin import SwinConfig
from sta.models.swin_flops import swin_flops
from sta.models.vit import ViTConfig
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
    """FLOPs of one view, counted by fvcore on the model's own trace, fused attention included.

    Tracing runs the model once on a random clip on the model's device; ViT-H takes minutes on a
    CPU, for which `estimate_flops` gives the same number at once.
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
    """The model with its logits alone: fvcore traces tensors."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.model(clips).logits
        return logits


def _attention_flops(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """MACs of scaled_dot_product_attention, which fvcore counts as 0 on its own."""
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

    `architecture` is the name of one, or the shape of a model (`model.config`).

    The exception is a VideoSwin's exact window attention, whose FLOPs depend on the clip: the
    estimate is that of a clip whose tokens are dropped at random places, and `clip_flops` gives
    that of a given one.

    Raises:
        ValueError: as `create_model`.
    """
    _check_convention(convention)
    config = architecture_config(architecture, frames=frames, image_size=image_size)
    pruning = pruning or Pruning()
    norm = _norm_flops(convention)
    if isinstance(config, SwinConfig):
        return int(swin_flops(config, pruning, num_classes=num_classes, norm=norm))
    return _vit_flops(config, pruning, num_classes=num_classes, norm=norm)


def flops_follow_clip(architecture: str, pruning: Pruning) -> bool:
    """Whether two clips can cost differently: with a VideoSwin's exact window attention."""
    windowed = isinstance(architecture_config(architecture), SwinConfig)
    return windowed and pruning.r > 0 and pruning.window_attention == "exact"


def clip_flops(
    model: VideoModel, kept: Sequence[Tensor], *, convention: Convention = "fvcore"
) -> list[int]:
    """FLOPs of each clip of a batch, exactly what the model computed for it.

    Args:
        model: the model.
        kept: the masks that it returned, (B, n_t, n_s) per pruning stage; of an unpruned model,
            none, and the answer is that of one clip.
        convention: what is counted.
    """
    _check_convention(convention)
    norm, classes = _norm_flops(convention), model.head.out_features
    if isinstance(model.config, SwinConfig):
        flops: list[int] = swin_flops(
            model.config, model.pruning, num_classes=classes, norm=norm, kept=kept
        ).tolist()
        return flops
    assert isinstance(model.config, ViTConfig)
    alike = _vit_flops(model.config, model.pruning, num_classes=classes, norm=norm)
    return [alike] * (len(kept[0]) if kept else 1)


def _norm_flops(convention: Convention) -> int:
    return LAYER_NORM_FLOPS if convention == "fvcore" else 0


def _vit_flops(config: ViTConfig, pruning: Pruning, *, num_classes: int, norm: int) -> int:
    stages = {stage.block: stage for stage in config.stages(pruning)}
    slots, spatial = config.grid
    tokens = slots * spatial
    width = config.width
    total = tokens * width * 3 * config.tubelet * config.patch_size**2
    for block in range(config.depth):
        total += _block_flops(config, tokens) + 2 * norm * tokens * width
        if block in stages:
            stage = stages[block]
            compared = width if pruning.similarity == "ffn" else width // config.heads
            total += score_flops(pruning, stage, compared)
            tokens = stage.groups * stage.kept
    return total + norm * width + width * num_classes


def _block_flops(config: ViTConfig, tokens: int) -> int:
    """Per token: projections 4 d^2, MLP 2 * ratio * d^2, attention 2 N d."""
    width = config.width
    return tokens * width * width * (4 + 2 * config.mlp_ratio) + 2 * tokens * tokens * width
