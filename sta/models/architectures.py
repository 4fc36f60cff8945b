"""The models by name."""

from __future__ import annotations

import dataclasses
from typing import Literal, overload

from sta.models.base import ModelConfig
from sta.models.swin import SwinConfig, VideoSwin
from sta.models.vit import VisionTransformer, ViTConfig
from sta.pruning import Pruning

ARCHITECTURES: dict[str, ViTConfig | SwinConfig] = {
    "vit_small": ViTConfig(width=384, depth=12, heads=6),
    "vit_base": ViTConfig(width=768, depth=12, heads=12),
    "vit_large": ViTConfig(width=1024, depth=24, heads=16),
    "vit_huge": ViTConfig(width=1280, depth=32, heads=16),
    "vit_demo": ViTConfig(width=192, depth=6, heads=6, image_size=112),
    "videoswin_tiny": SwinConfig(width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24)),
    "videoswin_small": SwinConfig(width=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24)),
    "videoswin_base": SwinConfig(width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
    "videoswin_base_ssv2": SwinConfig(
        width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=(16, 7, 7)
    ),
}

# The paper's own points: r = 64 halves a ViT's FLOPs (Table 2), r = 256 takes 31 to 38 % off a
# VideoSwin's (Table 3).
_DEFAULT_R_VIT = 64
_DEFAULT_R_SWIN = 256
_DEFAULT_R_DEMO = 22


def architecture_config(
    name: str | ModelConfig, *, frames: int | None = None, image_size: int | None = None
) -> ViTConfig | SwinConfig:
    """Shape of a named architecture, optionally for another clip length or frame size.

    A model's own shape (`model.config`) may stand for the name.

    Raises:
        ValueError: no such architecture (the message lists them), or a size it cannot take.
    """
    if isinstance(name, str) and name not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {name!r}; there are {', '.join(sorted(ARCHITECTURES))}"
        )
    config = ARCHITECTURES[name] if isinstance(name, str) else name
    assert isinstance(config, ViTConfig | SwinConfig)
    return dataclasses.replace(
        config,
        frames=config.frames if frames is None else frames,
        image_size=config.image_size if image_size is None else image_size,
    )


def default_pruning(name: str) -> Pruning:
    """The pruning that an architecture is run with unless told otherwise, at its own input size."""
    if name == "vit_demo":
        return Pruning(r=_DEFAULT_R_DEMO)
    swin = isinstance(architecture_config(name), SwinConfig)
    return Pruning(r=_DEFAULT_R_SWIN if swin else _DEFAULT_R_VIT)


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
    return model_of(config, architecture, num_classes=num_classes, pruning=pruning)


def model_of(
    config: ViTConfig | SwinConfig,
    architecture: str,
    *,
    num_classes: int,
    pruning: Pruning | None = None,
) -> VisionTransformer | VideoSwin:
    """A model of a given shape, which may differ from that of the named architecture."""
    if isinstance(config, SwinConfig):
        return VideoSwin(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        ).eval()
    return VisionTransformer(
        config, num_classes=num_classes, pruning=pruning, architecture=architecture
    ).eval()
