"""STA: video transformers that drop tokens seen before in time and poor in meaning.

Semantic-aware Temporal Accumulation (ICCV 2023) prunes the tokens of a trained video transformer
without further training. This package holds the score, the models and their checkpoints, and needs
torch alone: no Ray, no video files, no cloud.
"""

from sta.checkpoints.load import (
    DEMO_CHECKPOINT,
    CheckpointError,
    labels_fingerprint,
    load_model,
    read_labels,
    save_checkpoint,
)
from sta.checkpoints.pickles import UnsafePickle
from sta.flops import clip_flops, count_flops, estimate_flops, flops_follow_clip
from sta.models.architectures import (
    ARCHITECTURES,
    architecture_config,
    create_model,
    default_pruning,
)
from sta.models.base import ModelConfig, ModelOutput, VideoModel
from sta.models.swin import SwinConfig, VideoSwin
from sta.models.vit import VisionTransformer, ViTConfig
from sta.pruning import Pruning, Stage, largest_r

__all__ = [
    "ARCHITECTURES",
    "DEMO_CHECKPOINT",
    "CheckpointError",
    "ModelConfig",
    "ModelOutput",
    "Pruning",
    "Stage",
    "SwinConfig",
    "UnsafePickle",
    "ViTConfig",
    "VideoModel",
    "VideoSwin",
    "VisionTransformer",
    "architecture_config",
    "clip_flops",
    "count_flops",
    "create_model",
    "default_pruning",
    "estimate_flops",
    "flops_follow_clip",
    "labels_fingerprint",
    "largest_r",
    "load_model",
    "read_labels",
    "save_checkpoint",
]
