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

from sta.models.architectures import architecture_config
from sta.models.base import VideoModel
from sta.models.configs import ModelConfig
from sta.models.create import model_class
from sta.pruning import Pruning

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
    return model_class(config.backbone).closed_form_flops(
        config, pruning or Pruning(), num_classes=num_classes, norm=_norm_flops(convention)
    )


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
    return model.clip_flops(kept, norm=_norm_flops(convention))


def _norm_flops(convention: Convention) -> int:
    return LAYER_NORM_FLOPS if convention == "fvcore" else 0
