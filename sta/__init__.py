"""STA: video transformers that prune temporally redundant, low-saliency tokens.

Semantic-aware Temporal Accumulation (ICCV 2023) prunes the tokens of a trained video transformer
without further training. This package holds the score, the models and their checkpoints. It needs
torch and no Ray, no video files and no cloud. Names are imported when they are first used, so that
`import sta` and settings such as `sta.Pruning` do not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sta.checkpoints.labels import labels_fingerprint, read_labels
    from sta.checkpoints.load import load_model
    from sta.checkpoints.pickles import UnsafePickle
    from sta.checkpoints.save import save_checkpoint
    from sta.checkpoints.sources import DEMO_CHECKPOINT
    from sta.defaults import default_pruning, pruning_for_share
    from sta.errors import CheckpointError
    from sta.flops import clip_flops, count_flops, estimate_flops
    from sta.hf.apply import apply, remove
    from sta.hf.hooks import AppliedPruning
    from sta.models.architectures import ARCHITECTURES, architecture_config, flops_vary_by_clip
    from sta.models.base import ModelOutput, VideoModel
    from sta.models.configs import ModelConfig, SwinConfig, ViTConfig
    from sta.models.create import create_model, parameter_count
    from sta.models.swin import VideoSwin
    from sta.models.vit import VisionTransformer
    from sta.pruning import Pruning, PruningStage, largest_r

_MODULES = {
    "sta.checkpoints.labels": ("labels_fingerprint", "read_labels"),
    "sta.checkpoints.load": ("load_model",),
    "sta.checkpoints.pickles": ("UnsafePickle",),
    "sta.checkpoints.save": ("save_checkpoint",),
    "sta.checkpoints.sources": ("DEMO_CHECKPOINT",),
    "sta.errors": ("CheckpointError",),
    "sta.defaults": ("default_pruning", "pruning_for_share"),
    "sta.flops": ("clip_flops", "count_flops", "estimate_flops"),
    "sta.hf.apply": ("apply", "remove"),
    "sta.hf.hooks": ("AppliedPruning",),
    "sta.models.architectures": (
        "ARCHITECTURES",
        "architecture_config",
        "flops_vary_by_clip",
    ),
    "sta.models.base": ("ModelOutput", "VideoModel"),
    "sta.models.configs": ("ModelConfig", "SwinConfig", "ViTConfig"),
    "sta.models.create": ("create_model", "parameter_count"),
    "sta.models.swin": ("VideoSwin",),
    "sta.models.vit": ("VisionTransformer",),
    "sta.pruning": ("Pruning", "PruningStage", "largest_r"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ARCHITECTURES",
    "DEMO_CHECKPOINT",
    "AppliedPruning",
    "CheckpointError",
    "ModelConfig",
    "ModelOutput",
    "Pruning",
    "PruningStage",
    "SwinConfig",
    "UnsafePickle",
    "ViTConfig",
    "VideoModel",
    "VideoSwin",
    "VisionTransformer",
    "apply",
    "architecture_config",
    "clip_flops",
    "count_flops",
    "create_model",
    "default_pruning",
    "estimate_flops",
    "flops_vary_by_clip",
    "labels_fingerprint",
    "largest_r",
    "load_model",
    "parameter_count",
    "pruning_for_share",
    "read_labels",
    "remove",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sta' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
