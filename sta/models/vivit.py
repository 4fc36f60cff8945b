"""ViViT with joint space-time attention: learned positions, and a class token that is classified.

This is Model 1 of the paper (A. Arnab et al., ViViT: A Video Vision Transformer, ICCV 2021, section
3.3), whose tokens all attend to each other. Its factorized models are not built.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sta.models.base import initialize
from sta.models.columnar import ColumnarTransformer
from sta.models.configs import ViTConfig
from sta.models.layout import ConfigJson, Layout
from sta.pruning import Pruning

# The names in files that transformers writes, such as google/vivit-b-16x2-kinetics400, and those of
# its modules in newer versions.
HUGGING_FACE = Layout(
    title="Hugging Face's ViViT",
    marks=("vivit.",),
    renames=(
        (r"^vivit\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^vivit\.embeddings\.cls_token$", "cls_token"),
        (r"^vivit\.embeddings\.position_embeddings$", "pos_embed"),
        (r"^vivit\.layernorm\.", "norm."),
        (r"^classifier\.", "head."),
        (r"^vivit\.(?:encoder\.layer|layers)\.", "blocks."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.attention\.(?:attention\.query|q_proj)\.bias$", ".attn.q_bias"),
        (r"\.attention\.(?:attention\.key|k_proj)\.bias$", ".attn.k_bias"),
        (r"\.attention\.(?:attention\.value|v_proj)\.bias$", ".attn.v_bias"),
        (r"\.attention\.(?:attention\.query|q_proj)\.weight$", ".attn.query.weight"),
        (r"\.attention\.(?:attention\.key|k_proj)\.weight$", ".attn.key.weight"),
        (r"\.attention\.(?:attention\.value|v_proj)\.weight$", ".attn.value.weight"),
    ),
    # The classifier reads the class token past the pooler, which is trained with other heads alone.
    dropped=r"vivit\.pooler\..*",
)
OUR_OWN = Layout(title="ViViT", marks=("blocks.", "patch_embed.proj.", "cls_token"))

CONFIG_JSON = ConfigJson(
    model_type="vivit",
    names={
        "image_size": "image_size",
        "video_size": "video_size",
        "num_frames": "num_frames",
        "tubelet_size": "tubelet_shape",
        "num_channels": "num_channels",
        "hidden_size": "hidden_size",
        "num_hidden_layers": "num_hidden_layers",
        "num_attention_heads": "num_attention_heads",
        "intermediate_size": "intermediate_size",
        "hidden_act": "hidden_act",
        "layer_norm_eps": "layer_norm_eps",
        "qkv_bias": "qkv_bias",
    },
    # The values that transformers' VivitConfig takes.
    defaults={
        "image_size": 224,
        "num_frames": 32,
        "tubelet_size": [2, 16, 16],
        "num_channels": 3,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu_fast",
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
    },
    without_effect=frozenset(
        {
            *("hidden_dropout_prob", "attention_probs_dropout_prob"),
            *("pooler_output_size", "pooler_act"),
        }
    ),
)


class ViViT(ColumnarTransformer):
    """ViViT for classification; its parameters are named like those of VideoMAE's checkpoints.

    Attributes:
        cls_token: (1, 1, d), the class token before the grid. It is never pruned, and no token is
            compared with it.
        pos_embed: (1, 1 + n_t * n_s, d), learned positions of the class token and of the grid.
    """

    prefix_tokens: ClassVar[int] = 1
    layouts: ClassVar[tuple[Layout, ...]] = (HUGGING_FACE, OUR_OWN)
    config_jsons: ClassVar[tuple[ConfigJson, ...]] = (CONFIG_JSON,)

    def __init__(
        self,
        config: ViTConfig,
        *,
        num_classes: int,
        pruning: Pruning | None = None,
        architecture: str = "vivit",
    ) -> None:
        super().__init__(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        )
        temporal, spatial = config.grid
        dim = config.embed_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + temporal * spatial, dim))
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.apply(initialize)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)

    @staticmethod
    def processor_short_side(image_size: int) -> int:
        """256 for a crop of 224, and in proportion for others."""
        return image_size * 256 // 224

    def embed(self, clips: Tensor) -> Tensor:
        """Clips to the class token and the grid's (B, 1 + n_t * n_s, d), positions added."""
        x: Tensor = self.patch_embed(clips)
        first = self.cls_token.to(x.dtype).expand(len(x), -1, -1)
        return torch.cat((first, x), dim=1) + self.pos_embed.to(x.dtype)

    def pool(self, x: Tensor) -> Tensor:
        """The normalized class token."""
        pooled: Tensor = self.norm(x[:, 0].to(self.norm.weight.dtype))
        return pooled

    @classmethod
    def pool_flops(cls, config: ViTConfig, tokens: int, *, norm: int) -> int:
        """FLOPs of the last norm, of the class token alone."""
        return norm * config.embed_dim
