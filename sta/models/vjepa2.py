"""V-JEPA 2: rotary positions in time and space, and a pooler that attends to the kept tokens.

Sizes and layout are those of `VJEPA2ForVideoClassification` in transformers, whose files load.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from sta.models.attention import attention
from sta.models.base import MLP, initialize, shapes_alone
from sta.models.columnar import Block, ColumnarTransformer, Rotation, block_flops
from sta.models.configs import ViTConfig
from sta.models.layout import ConfigJson, Layout
from sta.pruning import Pruning

POOLER_LAYERS = 3
"""Self-attention layers of the pooler, before its cross-attention layer."""

_AXES = 3
_BASE = 10000.0

VJEPA2_OWN = Layout(title="V-JEPA 2", marks=("blocks.", "patch_embed.", "pooler."))
HUGGING_FACE = Layout(
    title="Hugging Face's V-JEPA 2",
    marks=("vjepa2.",),
    renames=(
        (r"^vjepa2\.encoder\.embeddings\.patch_embeddings\.", "patch_embed."),
        (r"^vjepa2\.encoder\.layernorm\.", "norm."),
        (r"^vjepa2\.encoder\.layer\.", "blocks."),
        (r"^classifier\.", "head."),
        (r"^(blocks\.\d+)\.attention\.(query|key|value)\.weight$", r"\1.attn.\2.weight"),
        (r"^(blocks\.\d+)\.attention\.(q|k|v)(uery|ey|alue)\.bias$", r"\1.attn.\2_bias"),
        (r"^(blocks\.\d+)\.attention\.proj\.", r"\1.attn.proj."),
        (r"^pooler\.query_tokens$", "pooler.query"),
        (r"^pooler\.self_attention_layers\.", "pooler.blocks."),
        (r"^pooler\.cross_attention_layer\.(cross_attn\.)?", "pooler.cross."),
        (r"^(pooler\..*)\.layer_norm(\d)\.", r"\1.norm\2."),
        (r"\.self_attn\.q_proj\.weight$", ".attn.query.weight"),
        (r"\.self_attn\.k_proj\.weight$", ".attn.key.weight"),
        (r"\.self_attn\.v_proj\.weight$", ".attn.value.weight"),
        (r"\.self_attn\.([qkv])_proj\.bias$", r".attn.\1_bias"),
        (r"\.self_attn\.out_proj\.", ".attn.proj."),
    ),
    # The predictor of pre-training.
    dropped=r"vjepa2\.predictor\..*",
)
# transformers' VJEPA2Model: recognized so that the message can say that a classifier is missing.
HUGGING_FACE_ENCODER = Layout(
    title="Hugging Face's V-JEPA 2",
    marks=("embeddings.patch_embeddings.proj.", "layer.", "layernorm."),
)

CONFIG_JSON = ConfigJson(
    model_type="vjepa2",
    names={
        "crop_size": "image_size",
        "frames_per_clip": "num_frames",
        "patch_size": "patch_size",
        "tubelet_size": "tubelet_size",
        "hidden_size": "hidden_size",
        "in_chans": "num_channels",
        "num_attention_heads": "num_attention_heads",
        "num_hidden_layers": "num_hidden_layers",
        "layer_norm_eps": "layer_norm_eps",
        "qkv_bias": "qkv_bias",
        "hidden_act": "hidden_act",
    },
    # The values that transformers' VJEPA2Config takes.
    defaults={
        "crop_size": 256,
        "frames_per_clip": 64,
        "patch_size": 16,
        "tubelet_size": 2,
        "hidden_size": 1024,
        "in_chans": 3,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "mlp_ratio": 4.0,
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "hidden_act": "gelu",
        "num_pooler_layers": POOLER_LAYERS,
    },
    required={"num_pooler_layers": (POOLER_LAYERS,)},
    without_effect=frozenset(
        {
            *("drop_path_rate", "hidden_dropout_prob", "attention_probs_dropout_prob"),
            # transformers reads crop_size, and older versions write it once more as image_size.
            *("attention_dropout", "image_size"),
            *("pred_hidden_size", "pred_num_attention_heads", "pred_num_hidden_layers"),
            *("pred_num_mask_tokens", "pred_zero_init_mask_tokens", "pred_mlp_ratio"),
        }
    ),
    ratio="mlp_ratio",
)


def rotary_table(config: ViTConfig) -> Rotation:
    """Rotary positions of every token of the grid, two tables (n_t * n_s, d_head) float32.

    A head's channels are three equal, even parts for temporal position, row and column; the
    channels that are left are not rotated (of 64: 20, 20, 20 and 4). Channel j of a part of c
    channels turns by position / 10000^((j mod c/2) / (c/2)). `Rotation.rotate` pairs neighboring
    channels, and those have two angles: it is not a rotation in the plane of the pair, but what the
    published weights were trained with, and what transformers does.

    Raises:
        ValueError: heads have an odd number of channels.
    """
    temporal, spatial = config.grid
    _, columns = config.grid_size
    width = config.embed_dim // config.num_heads
    if width % 2:
        raise ValueError(
            f"rotary positions turn pairs of channels; {config.num_heads} heads of embed_dim "
            f"{config.embed_dim} have {width} channels each"
        )
    if shapes_alone():
        return Rotation(*torch.empty(2, temporal * spatial, width))
    part = 2 * (width // _AXES // 2)
    index = torch.arange(temporal * spatial)
    places = (index // spatial, index % spatial // columns, index % columns)
    frequency = 1 / _BASE ** (torch.arange(part // 2, dtype=torch.float32) / (part / 2))
    angles = torch.zeros(temporal * spatial, width)
    for axis, place in enumerate(places):
        angles[:, axis * part : (axis + 1) * part] = (place[:, None] * frequency).repeat(1, 2)
    return Rotation(angles.cos(), angles.sin())


class CrossAttention(nn.Module):
    """One learned query attends to all tokens, and an MLP follows.

    The query is not normalized, and there is no output projection.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.num_heads = config.num_heads
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = MLP(dim, 4 * dim, config.activation)

    def forward(self, query: Tensor, x: Tensor) -> Tensor:
        """A query (1, 1, d) and tokens (B, M, d) to (B, d)."""
        batch = len(x)
        hidden = self.norm1(x)
        projected = (self.q_proj(query).expand(batch, -1, -1), self.k_proj(hidden))
        heads = (self._heads(each) for each in (*projected, self.v_proj(hidden)))
        out = query + attention(*heads).transpose(1, 2).reshape(batch, 1, -1)
        pooled: Tensor = out + self.mlp(self.norm2(out))
        return pooled[:, 0]

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)


class AttentivePooler(nn.Module):
    """Three blocks and one cross-attention layer, none of them with positions.

    Its MLPs have four times the channels of a token, whatever those of the encoder have.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        nn.init.trunc_normal_(self.query, std=0.02)
        # Keys of the pooler have a bias also where those of the encoder have none.
        own = dataclasses.replace(config, key_bias=True, mlp_dim=4 * config.embed_dim)
        self.blocks = nn.ModuleList([Block(own) for _ in range(POOLER_LAYERS)])
        self.cross = CrossAttention(config)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, M, d) to what the classifier sees (B, d)."""
        for block in self.blocks:
            x, _ = block(x)
        pooled: Tensor = self.cross(self.query, x)
        return pooled


class VJEPA2(ColumnarTransformer):
    """V-JEPA 2's encoder with its attentive classifier (arXiv 2506.09985).

    STA compares keys as they are before the rotation: two tokens of the same content then are
    similar wherever they stand, as the paper's similarity means it, and as it is for VideoMAE,
    whose keys have positions only as far as the embedding brought them in. After the rotation the
    similarity of two tokens would also depend on where they stand. Which of both keeps more
    accuracy is not decided by measurement: that takes trained weights.

    The pooler and the classifier see the kept tokens alone.
    """

    layouts: ClassVar[tuple[Layout, ...]] = (VJEPA2_OWN, HUGGING_FACE, HUGGING_FACE_ENCODER)
    config_jsons: ClassVar[tuple[ConfigJson, ...]] = (CONFIG_JSON,)

    rotary_cos: Tensor
    rotary_sin: Tensor

    def __init__(
        self,
        config: ViTConfig,
        *,
        num_classes: int,
        pruning: Pruning | None = None,
        architecture: str = "vjepa2",
    ) -> None:
        super().__init__(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        )
        table = rotary_table(config)
        self.register_buffer("rotary_cos", table.cos, persistent=False)
        self.register_buffer("rotary_sin", table.sin, persistent=False)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.pooler = AttentivePooler(config)
        self.apply(initialize)

    @staticmethod
    def processor_short_side(image_size: int) -> int:
        """The processor leaves a margin around the crop: 292 pixels for 256, 438 for 384."""
        return int(image_size * 256 / 224)

    def embed(self, clips: Tensor) -> Tensor:
        """Clips to tokens (B, n_t * n_s, d); positions enter in attention alone."""
        x: Tensor = self.patch_embed(clips)
        return x

    def rotation(self, positions: Tensor) -> Rotation:
        """Each token's own rows of the tables."""
        return Rotation(self.rotary_cos[positions][:, None], self.rotary_sin[positions][:, None])

    def pool(self, x: Tensor) -> Tensor:
        """The attentive pooling of the normalized tokens."""
        pooled: Tensor = self.pooler(self.norm(x))
        return pooled

    @classmethod
    def pool_flops(cls, config: ViTConfig, tokens: int, *, norm: int) -> int:
        """FLOPs of the last norm and of the pooler on the tokens that are left."""
        dim = config.embed_dim
        return norm * tokens * dim + pooler_flops(tokens, dim, layers=POOLER_LAYERS, norm=norm)


def pooler_flops(tokens: int, dim: int, *, layers: int, norm: int) -> int:
    """FLOPs of the attentive pooler on one clip.

    Args:
        tokens: tokens that it pools.
        dim: channels of a token.
        layers: self-attention layers before the cross-attention layer.
        norm: FLOPs per element of a layer norm.
    """
    blocks = layers * block_flops(tokens, dim, 4 * dim, norm=norm)
    norms = norm * dim * (tokens + 1)
    of_tokens = 2 * tokens * dim * (dim + 1)  # key and value projections, attention
    of_query = dim * (dim + 8 * dim)
    return blocks + norms + of_tokens + of_query
