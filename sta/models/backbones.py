"""The table of backbones; needs no torch until a model class is asked for.

A backbone is one file of this folder: a subclass of `VideoModel` with its token grid, blocks, keys,
positions and head, and what its checkpoints look like. `sta.models.architectures` lists the sizes
of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sta.models.base import VideoModel


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
        "videoswin": Backbone("sta.models.swin", "VideoSwin", protocols="videoswin"),
    }
)


def check_backbone(name: str) -> None:
    """Raise ValueError, with the list of backbones, if none has this name."""
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {name!r}")


def model_class(backbone: str) -> type[VideoModel]:
    """The class of a backbone's models; imports its file.

    Raises:
        ValueError: no backbone has this name.
    """
    check_backbone(backbone)
    row = BACKBONES[backbone]
    found: type[VideoModel] = getattr(import_module(row.module), row.model)
    return found


def model_classes() -> Iterator[tuple[str, type[VideoModel]]]:
    """Every backbone's name and class; imports all files of the table."""
    for name in BACKBONES:
        yield name, model_class(name)
