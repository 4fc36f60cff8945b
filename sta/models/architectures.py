"""The architectures by name, and the shape of each; needs no torch.

`sta.models.create` builds the models.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from sta.models.configs import ModelConfig, SwinConfig, ViTConfig
from sta.pruning import Pruning

_vjepa2 = partial(ViTConfig, key_bias=True, backbone="vjepa2")

ARCHITECTURES: dict[str, ViTConfig | SwinConfig] = {
    "vit_small": ViTConfig(embed_dim=384, depth=12, num_heads=6),
    "vit_base": ViTConfig(embed_dim=768, depth=12, num_heads=12),
    "vit_large": ViTConfig(embed_dim=1024, depth=24, num_heads=16),
    "vit_huge": ViTConfig(embed_dim=1280, depth=32, num_heads=16),
    "vit_giant": ViTConfig(embed_dim=1408, depth=40, num_heads=16, patch_size=14, mlp_dim=6144),
    "vit_demo": ViTConfig(embed_dim=192, depth=6, num_heads=6, image_size=112),
    # As published: classifiers of L at 16 frames and g at 64 frames, of H the encoder.
    "vjepa2_large": _vjepa2(embed_dim=1024, depth=24, num_heads=16, frames=16, image_size=256),
    "vjepa2_huge": _vjepa2(embed_dim=1280, depth=32, num_heads=16, frames=64, image_size=256),
    "vjepa2_giant": _vjepa2(
        embed_dim=1408, depth=40, num_heads=22, mlp_dim=6144, frames=64, image_size=384
    ),
    "vivit_base": ViTConfig(
        embed_dim=768,
        depth=12,
        num_heads=12,
        frames=32,
        activation="gelu_tanh",
        key_bias=True,
        backbone="vivit",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    "videoswin_tiny": SwinConfig(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "videoswin_small": SwinConfig(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    "videoswin_base": SwinConfig(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    "videoswin_base_ssv2": SwinConfig(
        embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(16, 7, 7)
    ),
}

# The paper's settings: r = 64 halves a ViT's FLOPs (Table 2), r = 256 saves 31 to 38 % of a
# VideoSwin's (Table 3). An architecture that is not here has the r that halves its FLOPs.
DEFAULT_R = {
    **dict.fromkeys(("vit_small", "vit_base", "vit_large", "vit_huge"), 64),
    "vit_demo": 22,
    **{name: 256 for name in ARCHITECTURES if name.startswith("videoswin_")},
}


def check_architecture(name: str) -> None:
    """Raise ValueError, with the list of architectures, if none has this name."""
    if name not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {name!r}; available are {', '.join(sorted(ARCHITECTURES))}"
        )


def architecture_config(
    architecture: str | ModelConfig, *, frames: int | None = None, image_size: int | None = None
) -> ViTConfig | SwinConfig:
    """Shape of an architecture, optionally for another clip length or frame size.

    Args:
        architecture: its name, or the shape of a model (`model.config`).
        frames: frames per clip, if not the architecture's own number.
        image_size: height and width in pixels, if not the architecture's own.

    Raises:
        ValueError: unknown architecture, or a size that it cannot take.
    """
    if isinstance(architecture, str):
        check_architecture(architecture)
        config = ARCHITECTURES[architecture]
    else:
        assert isinstance(architecture, ViTConfig | SwinConfig)
        config = architecture
    return dataclasses.replace(
        config,
        frames=config.frames if frames is None else frames,
        image_size=config.image_size if image_size is None else image_size,
    )


def flops_vary_by_clip(architecture: str, pruning: Pruning) -> bool:
    """Whether two clips can need different FLOPs: with VideoSwin's sparse window attention."""
    return architecture_config(architecture).flops_vary(pruning)
