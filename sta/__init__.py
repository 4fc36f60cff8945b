"""STA: video transformers that drop tokens seen before in time and poor in meaning.

Semantic-aware Temporal Accumulation (ICCV 2023) prunes the tokens of a trained video transformer
without further training. This package holds the score, the models and their checkpoints, and needs
torch alone: no Ray, no video files, no cloud.
"""

from sta.architectures import ARCHITECTURES, architecture_config, create_model, default_pruning
from sta.checkpoints import (
    DEMO_CHECKPOINT,
    CheckpointError,
    labels_fingerprint,
    load_model,
    read_labels,
    save_checkpoint,
)
from sta.flops import clip_flops, count_flops, estimate_flops, flops_follow_clip
from sta.model import ModelConfig, ModelOutput, VideoModel
from sta.pickles import UnsafePickle
from sta.pruning import Pruning, Stage, largest_r
from sta.swin import SwinConfig, VideoSwin
from sta.vit import VisionTransformer, ViTConfig

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
