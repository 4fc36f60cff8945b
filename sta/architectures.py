"""The models by name."""

from __future__ import annotations

import dataclasses

from sta.pruning import Pruning
from sta.vit import VisionTransformer, ViTConfig

ARCHITECTURES: dict[str, ViTConfig] = {
    "vit_small": ViTConfig(width=384, depth=12, heads=6),
    "vit_base": ViTConfig(width=768, depth=12, heads=12),
    "vit_large": ViTConfig(width=1024, depth=24, heads=16),
    "vit_huge": ViTConfig(width=1280, depth=32, heads=16),
    "vit_demo": ViTConfig(width=192, depth=6, heads=6, image_size=112),
}

# About half the FLOPs: r = 64 is the paper's own point for 14 x 14 tokens per frame (Table 2).
_DEFAULT_R = {"vit_demo": 22}
_DEFAULT_R_224 = 64


def architecture_config(
    name: str, *, frames: int | None = None, image_size: int | None = None
) -> ViTConfig:
    """Shape of a named architecture, optionally for another clip length or frame size.

    Raises:
        ValueError: no such architecture (the message lists them), or a size it cannot take.
    """
    if name not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {name!r}; there are {', '.join(sorted(ARCHITECTURES))}"
        )
    config = ARCHITECTURES[name]
    return dataclasses.replace(
        config,
        frames=config.frames if frames is None else frames,
        image_size=config.image_size if image_size is None else image_size,
    )


def default_pruning(name: str) -> Pruning:
    """The pruning that saves about half the FLOPs of an architecture at its own input size."""
    architecture_config(name)
    return Pruning(r=_DEFAULT_R.get(name, _DEFAULT_R_224))


def create_model(
    architecture: str,
    *,
    num_classes: int = 400,
    pruning: Pruning | None = None,
    frames: int | None = None,
    image_size: int | None = None,
) -> VisionTransformer:
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
    model = VisionTransformer(
        config, num_classes=num_classes, pruning=pruning, architecture=architecture
    )
    return model.eval()
