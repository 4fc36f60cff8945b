"""A model's weights in Hugging Face's VideoMAE, for comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sta.models.vit import HUGGING_FACE, VisionTransformer

_PARTS = ("query", "key", "value")


class TransformersVideoMAE(nn.Module):
    """transformers' VideoMAEForVideoClassification with fused attention and a model's weights.

    Raises ImportError where transformers is not installed.
    """

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        import transformers

        shape = model.config
        config = transformers.VideoMAEConfig(
            image_size=shape.image_size,
            patch_size=shape.patch_size,
            num_frames=shape.frames,
            tubelet_size=shape.tubelet_size,
            hidden_size=shape.embed_dim,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.num_heads,
            intermediate_size=shape.hidden_dim,
            num_labels=model.head.out_features,
            use_mean_pooling=True,
            layer_norm_eps=1e-6,
            attn_implementation="sdpa",
        )
        with torch.device(model.head.weight.device):
            self.theirs = transformers.VideoMAEForVideoClassification(config).eval()
        self.theirs.fc_norm.eps = 1e-6  # it takes torch's default there, whatever the config says
        self.theirs.to(model.head.weight.dtype)
        _copy_weights(self.theirs, dict(model.named_parameters()))

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, classes) of clips (B, 3, T, H, W)."""
        logits: Tensor = self.theirs(clips.transpose(1, 2)).logits
        return logits


def _copy_weights(theirs: Any, ours: dict[str, nn.Parameter]) -> None:
    """Every parameter of theirs gets its value from ours; a KeyError names one without."""
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(_ours(name, ours))


def _ours(foreign: str, ours: dict[str, nn.Parameter]) -> Tensor:
    name = HUGGING_FACE.name(foreign) or foreign
    block, _, part = name.removesuffix(".weight").rpartition(".")
    if part in _PARTS:
        return ours[f"{block}.qkv.weight"].chunk(3)[_PARTS.index(part)]
    return ours[name]
