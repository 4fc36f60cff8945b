"""Models from the name of an architecture or from a shape, and their classes by the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Literal, overload

import torch

from sta.models import backbones
from sta.models.architectures import architecture_config
from sta.models.base import VideoModel
from sta.models.configs import ModelConfig
from sta.pruning import Pruning

if TYPE_CHECKING:
    from sta.models.vit import VisionTransformer


def model_class(backbone: str) -> type[VideoModel]:
    """The class of a backbone's models; imports its file.

    Raises:
        ValueError: no backbone has this name.
    """
    backbones.check_backbone(backbone)
    row = backbones.BACKBONES[backbone]
    found: type[VideoModel] = getattr(import_module(row.module), row.model)
    return found


def model_classes() -> Iterator[tuple[str, type[VideoModel]]]:
    """Every backbone's name and class; imports all files of the table."""
    for name in backbones.BACKBONES:
        yield name, model_class(name)


@overload
def create_model(
    architecture: Literal[
        "vit_demo", "vit_small", "vit_base", "vit_large", "vit_huge", "vit_giant"
    ],
    *,
    num_classes: int = 400,
    pruning: Pruning | None = None,
    frames: int | None = None,
    image_size: int | None = None,
) -> VisionTransformer: ...


@overload
def create_model(
    architecture: str,
    *,
    num_classes: int = 400,
    pruning: Pruning | None = None,
    frames: int | None = None,
    image_size: int | None = None,
) -> VideoModel: ...


def create_model(
    architecture: str,
    *,
    num_classes: int = 400,
    pruning: Pruning | None = None,
    frames: int | None = None,
    image_size: int | None = None,
) -> VideoModel:
    """A model with random weights, in evaluation mode.

    Args:
        architecture: one of `ARCHITECTURES`.
        num_classes: size of the head.
        pruning: None or r = 0 for the unpruned model.
        frames: frames per clip, if not the architecture's own number.
        image_size: height and width in pixels, if not the architecture's own.

    Raises:
        ValueError: unknown architecture, impossible size, or r too large for a stage.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be 1 or more; got {num_classes}")
    config = architecture_config(architecture, frames=frames, image_size=image_size)
    return model_from_config(config, architecture, num_classes=num_classes, pruning=pruning)


def model_from_config(
    config: ModelConfig,
    architecture: str,
    *,
    num_classes: int,
    pruning: Pruning | None = None,
) -> VideoModel:
    """A model of this shape, which may differ from that of the named architecture."""
    return model_class(config.backbone)(
        config, num_classes=num_classes, pruning=pruning, architecture=architecture
    ).eval()


def parameter_shapes(config: ModelConfig, *, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Shape of every entry of the state dict of a model, by name; allocates no parameter.

    A checkpoint is compared with them before its model is built, so that a small file cannot make a
    large model.
    """
    # On the meta device tensors have no memory; the list of a model's labels would have some.
    with torch.device("meta"):
        model = model_class(config.backbone)(config, num_classes=1, pruning=None, architecture="")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in ("head.weight", "head.bias"):
        shapes[name] = (num_classes, *shapes[name][1:])
    return shapes


def parameter_count(config: ModelConfig, *, num_classes: int) -> int:
    """Numbers in all parameters of a model."""
    return sum(map(math.prod, parameter_shapes(config, num_classes=num_classes).values()))
