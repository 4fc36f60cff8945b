"""Models from the name of an architecture or from a shape."""

from __future__ import annotations

from typing import Literal, overload

from sta.models.architectures import SwinConfig, ViTConfig, architecture_config
from sta.models.swin import VideoSwin
from sta.models.vit import VisionTransformer
from sta.pruning import Pruning


@overload
def create_model(
    architecture: Literal["vit_demo", "vit_small", "vit_base", "vit_large", "vit_huge"],
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
) -> VisionTransformer | VideoSwin: ...


def create_model(
    architecture: str,
    *,
    num_classes: int = 400,
    pruning: Pruning | None = None,
    frames: int | None = None,
    image_size: int | None = None,
) -> VisionTransformer | VideoSwin:
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
    config: ViTConfig | SwinConfig,
    architecture: str,
    *,
    num_classes: int,
    pruning: Pruning | None = None,
) -> VisionTransformer | VideoSwin:
    """A model of this shape, which may differ from that of the named architecture."""
    if isinstance(config, SwinConfig):
        return VideoSwin(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        ).eval()
    return VisionTransformer(
        config, num_classes=num_classes, pruning=pruning, architecture=architecture
    ).eval()
