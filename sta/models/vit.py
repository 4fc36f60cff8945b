"""VideoMAE's ViT: fixed positions, and the mean of all tokens before the last norm."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sta.models.base import initialize, shapes_alone
from sta.models.columnar import ColumnarTransformer
from sta.models.configs import VIT_NORM_EPS, ViTConfig
from sta.models.layout import ConfigJson, Layout
from sta.pruning import Pruning


def sincos_table(positions: int, dim: int) -> Tensor:
    """Fixed position embedding (positions, dim), float32.

    Angle pos / 10000^(2 * (j // 2) / dim), sine at even j and cosine at odd j, computed in
    float64 as VideoMAE does. VideoMAE's checkpoints do not contain the table.
    """
    if shapes_alone():
        return torch.empty(positions, dim)
    channel = torch.arange(dim, dtype=torch.float64)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / torch.pow(
        10000.0, 2 * torch.div(channel, 2, rounding_mode="floor") / dim
    )
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


_NORM_BEFORE_POOLING = (
    "it normalizes tokens before they are averaged or takes one of them, and VideoMAE's classifier "
    "normalizes their average. If the model does that too, rename norm to fc_norm in the file"
)

VIDEOMAE = Layout(
    title="VideoMAE",
    marks=("blocks.", "patch_embed.proj."),
    dropped=r"pos_embed",
    positions=r"pos_embed",
    refused=(("norm.weight", "fc_norm.weight", _NORM_BEFORE_POOLING),),
)
HUGGING_FACE = Layout(
    title="Hugging Face's VideoMAE",
    marks=("videomae.",),
    renames=(
        (r"^videomae\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^classifier\.", "head."),
        (r"^videomae\.encoder\.layer\.", "blocks."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.attention\.attention\.(query\.bias|q_bias)$", ".attn.q_bias"),
        (r"\.attention\.attention\.(value\.bias|v_bias)$", ".attn.v_bias"),
        (r"\.attention\.attention\.(key\.bias|k_bias)$", ".attn.k_bias"),
        (r"\.attention\.attention\.(query|key|value)\.weight$", r".attn.\1.weight"),
    ),
    dropped=r"videomae\.embeddings\.position_embeddings",
    positions=r"videomae\.embeddings\.position_embeddings",
    refused=(("norm.weight", "fc_norm.weight", _NORM_BEFORE_POOLING),),
)
MMACTION = Layout(
    title="mmaction2's VideoMAE",
    marks=("patch_embed.projection.",),
    renames=(
        (r"^cls_head\.fc_cls\.", "head."),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"\.mlp\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.mlp\.layers\.1\.", ".mlp.fc2."),
    ),
    dropped=r"pos_embed",
    positions=r"pos_embed",
    refused=(("norm.weight", "fc_norm.weight", _NORM_BEFORE_POOLING),),
)

CONFIG_JSON = ConfigJson(
    model_type="videomae",
    names={
        "image_size": "image_size",
        "num_frames": "num_frames",
        "num_attention_heads": "num_attention_heads",
        "hidden_act": "hidden_act",
        "layer_norm_eps": "layer_norm_eps",
        "patch_size": "patch_size",
        "tubelet_size": "tubelet_size",
        "hidden_size": "hidden_size",
        "num_hidden_layers": "num_hidden_layers",
        "intermediate_size": "intermediate_size",
        "num_channels": "num_channels",
        "use_mean_pooling": "use_mean_pooling",
        "qkv_bias": "qkv_bias",
        "qv_bias": "qv_bias",
    },
    # The values that transformers' VideoMAEConfig takes.
    defaults={
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "num_frames": 16,
        "tubelet_size": 2,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "use_mean_pooling": True,
    },
    without_effect=frozenset(
        {
            *("hidden_dropout_prob", "attention_probs_dropout_prob"),
            *("norm_pix_loss", "decoder_num_attention_heads", "decoder_hidden_size"),
            *("decoder_num_hidden_layers", "decoder_intermediate_size"),
        }
    ),
)
CONFIG_JSON_V2 = ConfigJson(
    model_type="",
    within="model_config",
    names={
        "img_size": "image_size",
        "patch_size": "patch_size",
        "in_chans": "num_channels",
        "all_frames": "num_frames",
        "num_frames": "num_frames",
        "tubelet_size": "tubelet_size",
        "embed_dim": "hidden_size",
        "depth": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "layer_norm_eps": "layer_norm_eps",
        "qkv_bias": "qkv_bias",
        "use_mean_pooling": "use_mean_pooling",
        "num_classes": "num_labels",
    },
    required={
        "qk_scale": (None,),
        "init_values": (None, 0),
        "use_learnable_pos_emb": (False,),
        "cos_attn": (False,),
        "norm_layer": ("nn.LayerNorm", "LayerNorm"),
    },
    without_effect=frozenset(
        {
            *("drop_rate", "attn_drop_rate", "drop_path_rate", "head_drop_rate", "init_scale"),
            "with_cp",
        }
    ),
    ratio="mlp_ratio",
)


class VisionTransformer(ColumnarTransformer):
    """VideoMAE ViT for classification (VideoMAE, appendix: embed_dim, depth, num_heads per size).

    Parameter names are those of VideoMAE's checkpoints.
    """

    layouts: ClassVar[tuple[Layout, ...]] = (VIDEOMAE, HUGGING_FACE, MMACTION)
    config_jsons: ClassVar[tuple[ConfigJson, ...]] = (CONFIG_JSON, CONFIG_JSON_V2)

    pos_embed: Tensor

    def __init__(
        self,
        config: ViTConfig,
        *,
        num_classes: int,
        pruning: Pruning | None = None,
        architecture: str = "vit",
    ) -> None:
        super().__init__(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        )
        temporal, spatial = config.grid
        table = sincos_table(temporal * spatial, config.embed_dim)
        self.register_buffer("pos_embed", table, persistent=False)
        # The last norm has VideoMAE's epsilon whatever that of the blocks is.
        self.fc_norm = nn.LayerNorm(config.embed_dim, eps=VIT_NORM_EPS)
        self.apply(initialize)

    def embed(self, clips: Tensor) -> Tensor:
        """Clips to tokens (B, n_t * n_s, d) with their fixed positions."""
        x: Tensor = self.patch_embed(clips)
        return x + self.pos_embed.to(x.dtype)

    def pool(self, x: Tensor) -> Tensor:
        """The normalized mean of all tokens."""
        # Of tokens in bfloat16 the classifier, with its norm, may have weights in float32.
        pooled: Tensor = self.fc_norm(x.mean(dim=1, dtype=self.fc_norm.weight.dtype))
        return pooled

    @classmethod
    def pool_flops(cls, config: ViTConfig, tokens: int, *, norm: int) -> int:
        """FLOPs of the last norm."""
        return norm * config.embed_dim
