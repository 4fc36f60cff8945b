"""The table of backbones; needs no torch.

A backbone is one file of this folder: a subclass of `VideoModel` with its token grid, blocks, keys,
positions and head, and what its checkpoints look like. `sta.models.architectures` lists the sizes
of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        module: the file, as a module.
        model: its class, a subclass of `VideoModel`.
        protocols: the sampling protocols that its checkpoints were evaluated by are called
            "PROTOCOLS-TASK", where a task is k400 or ssv2.
    """

    module: str
    model: str
    protocols: str


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "videomae": Backbone("sta.models.vit", "VisionTransformer", protocols="videomae"),
        "vjepa2": Backbone("sta.models.vjepa2", "VJEPA2", protocols="vjepa2"),
        "videoswin": Backbone("sta.models.swin", "VideoSwin", protocols="videoswin"),
        "vivit": Backbone("sta.models.vivit", "ViViT", protocols="vivit"),
    }
)


def check_backbone(name: str) -> None:
    """Raise ValueError, with the list of backbones, if none has this name."""
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {name!r}")
