"""Transformers whose tokens stand on one (time, space) grid in every block, with STA.

A backbone of this kind is a subclass of `ColumnarTransformer` that says what is its own: how clips
become tokens (`embed`), what a token's position does in attention (`rotation`), what the classifier
sees (`pool`), and the FLOPs of that (`pool_flops`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.attention import attention
from sta.models.base import MLP, ModelOutput, VideoModel, embed_tubelets
from sta.models.configs import ModelConfig, ViTConfig
from sta.pruning import Pruning, PruningStage
from sta.score import choose_tokens, fixed_selection, kept_mask, score_flops


class Rotation(NamedTuple):
    """Rotary positions of some tokens, for queries and keys (B, heads, M, d / heads).

    Attributes:
        cos: (B, 1, M, d / heads).
        sin: (B, 1, M, d / heads).
    """

    cos: Tensor
    sin: Tensor

    def rotate(self, x: Tensor) -> Tensor:
        """Rotates each pair of neighboring channels by the token's angles."""
        real, imaginary = x[..., 0::2], x[..., 1::2]
        turned = torch.stack((-imaginary, real), dim=-1).flatten(-2)
        return x * self.cos.to(x.dtype) + turned * self.sin.to(x.dtype)


class PatchEmbed(nn.Module):
    """Tubelets of (t, patch, patch) pixels to tokens (B, n_t * n_s, d), time first."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        tubelet = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.embed_dim, kernel_size=tubelet, stride=tubelet)

    def forward(self, clips: Tensor) -> Tensor:  # noqa: D102
        return embed_tubelets(self.proj, clips).flatten(1, 3)


class Attention(nn.Module):
    """Multi-head attention with biases for queries and values, and optionally for keys."""

    k_bias: nn.Parameter | None

    def __init__(self, dim: int, num_heads: int, *, key_bias: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.register_parameter("k_bias", nn.Parameter(torch.zeros(dim)) if key_bias else None)
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """(B, N, d) to the attended (B, N, d) and the projections (3, B, heads, N, d / heads).

        The projections are those before the rotation, which mixes positions into them.
        """
        batch, tokens, dim = x.shape
        key_bias = torch.zeros_like(self.q_bias) if self.k_bias is None else self.k_bias
        bias = torch.cat([self.q_bias, key_bias, self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        if rotation is not None:
            query, key = rotation.rotate(query), rotation.rotate(key)
        attended = attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, dim)), qkv


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = Attention(config.embed_dim, config.num_heads, key_bias=config.key_bias)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.mlp = MLP(config.embed_dim, config.hidden_dim, config.activation)

    def forward(
        self, x: Tensor, similarity: str | None = None, rotation: Rotation | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, N, d) to the block's output and the features (B, N, d') that STA compares.

        Args:
            x: tokens.
            similarity: "q", "k" or "v" for that projection averaged over heads, "ffn" for the
                normalized input of the MLP, None for no features.
            rotation: rotary positions of the tokens; None for a backbone without them.
        """
        attended, qkv = self.attn(self.norm1(x), rotation)
        x = x + attended
        hidden = self.norm2(x)
        compared = None
        if similarity == "ffn":
            compared = hidden
        elif similarity is not None:
            heads = qkv["qkv".index(similarity)]
            compared = heads.mean(dim=1, dtype=torch.promote_types(heads.dtype, torch.float32))
        return x + self.mlp(hidden), compared


class ColumnarTransformer(VideoModel):
    """A transformer over one (time, space) grid of tokens, with STA (paper, sections 3.1 and 3.2).

    A subclass adds the modules of its embedding and pooling in its own `__init__`, and calls
    `self.apply(initialize)` at the end. Its blocks and head are made here. Parameter names are
    those of VideoMAE's checkpoints for what VideoMAE has too.

    Attributes:
        prefix_tokens: tokens before those of the grid, such as a class token. They are never pruned
            and take no part in the score.
    """

    prefix_tokens: ClassVar[int] = 0

    config: ViTConfig

    def __init__(
        self,
        config: ViTConfig,
        *,
        num_classes: int,
        pruning: Pruning | None = None,
        architecture: str = "",
    ) -> None:
        super().__init__(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        )
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.head = nn.Linear(config.embed_dim, num_classes)
        for stage in self.stages:
            fixed = fixed_selection(self.pruning, stage, grid_size=config.grid_size)
            self.register_buffer(f"fixed_selection_{stage.block}", fixed, persistent=False)

    def embed(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) to tokens (B, prefix_tokens + n_t * n_s, d), positions added."""
        raise NotImplementedError

    def rotation(self, positions: Tensor) -> Rotation | None:
        """Rotary positions of the tokens at `positions` (B, M) in the flat grid; None for none."""
        return None

    def pool(self, x: Tensor) -> Tensor:
        """The tokens (B, prefix_tokens + M, d) of the last block to what the head sees (B, d)."""
        raise NotImplementedError

    @classmethod
    def pool_flops(cls, config: ViTConfig, tokens: int, *, norm: int) -> int:
        """FLOPs of `pool` on one clip.

        Args:
            config: shape of the model.
            tokens: tokens that reach it, the prefix included.
            norm: FLOPs per element of a layer norm.
        """
        raise NotImplementedError

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips; see `VideoModel.forward`."""
        x, _, kept = self.tokens(clips)
        features = self.pool(x)
        return ModelOutput(self.classify(features), kept, features)

    def tokens(
        self, clips: Tensor, *, blocks: list[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The tokens that reach the pooling, with their positions in the clip.

        Args:
            clips: as for `forward`.
            blocks: if given, a list to which (tokens, positions) of every block's output is
                appended, before the pruning that may follow the block.

        Returns:
            (B, prefix_tokens + M, d) tokens, (B, M) indices of all but the prefix in the flat
            (n_t * n_s) grid, and the kept-token masks.
        """
        self.check_clips(clips)
        x = self.embed(clips)
        prefix = self.prefix_tokens
        positions = torch.arange(x.shape[1] - prefix, device=x.device).expand(x.shape[0], -1)
        rotation = self.rotation(positions)
        by_block = {stage.block: stage for stage in self.stages}
        kept = []
        for index, block in enumerate(self.blocks):
            stage = by_block.get(index)
            x, compared = block(x, self.pruning.similarity if stage else None, rotation)
            if blocks is not None:
                blocks.append((x, positions))
            if stage is not None:
                left, positions = self.prune(x[:, prefix:], compared[:, prefix:], positions, stage)
                x = torch.cat((x[:, :prefix], left), dim=1) if prefix else left
                rotation = self.rotation(positions)
                kept.append(kept_mask(positions, self.config.grid))
        return x, positions, tuple(kept)

    def prune(
        self, x: Tensor, compared: Tensor, positions: Tensor, stage: PruningStage
    ) -> tuple[Tensor, Tensor]:
        """Run one pruning stage: score, select and gather the tokens.

        Args:
            x: (B, N, d) tokens after the stage's block.
            compared: (B, N, d') features that STA compares, averaged over heads.
            positions: (B, N) int64, index of each token in the flat (n_t * n_s) grid.
            stage: the pruning stage.

        Returns:
            The kept tokens (B, M, d) and their positions (B, M).
        """
        index = choose_tokens(
            x,
            compared,
            pruning=self.pruning,
            stage=stage,
            fixed=getattr(self, f"fixed_selection_{stage.block}"),
        )
        rows = index[..., None].expand(-1, -1, x.shape[-1])
        return x.gather(1, rows), positions.gather(1, index)

    @classmethod
    def closed_form_flops(
        cls, config: ModelConfig, pruning: Pruning, *, num_classes: int, norm: int
    ) -> int:
        """FLOPs of one view; see `VideoModel.closed_form_flops`."""
        assert isinstance(config, ViTConfig)
        dim, tokens = config.embed_dim, math.prod(config.grid)
        blocks, left = blocks_flops(
            tokens,
            pruning=pruning,
            stages=config.stages(pruning),
            depth=config.depth,
            dim=dim,
            hidden_dim=config.hidden_dim,
            num_heads=config.num_heads,
            prefix_tokens=cls.prefix_tokens,
            norm=norm,
        )
        embedding = tokens * dim * 3 * config.tubelet_size * config.patch_size**2
        pooling = cls.pool_flops(config, left, norm=norm)
        return embedding + blocks + pooling + dim * num_classes


def blocks_flops(
    tokens: int,
    *,
    pruning: Pruning,
    stages: Sequence[PruningStage],
    depth: int,
    dim: int,
    hidden_dim: int,
    num_heads: int,
    prefix_tokens: int,
    norm: int,
) -> tuple[int, int]:
    """FLOPs of all blocks and of the score on one clip, and the tokens that are left.

    Args:
        tokens: of the grid.
        pruning: the settings.
        stages: the pruning stages of this grid; empty for the unpruned model.
        depth: number of blocks.
        dim: channels of a token.
        hidden_dim: hidden channels of the MLP.
        num_heads: attention heads.
        prefix_tokens: tokens before those of the grid, which are never pruned.
        norm: FLOPs per element of a layer norm.

    Returns:
        FLOPs, and the number of tokens after the last block, those of the prefix included.
    """
    by_block = {stage.block: stage for stage in stages}
    compared = dim if pruning.similarity == "ffn" else dim // num_heads
    total = 0
    for block in range(depth):
        total += block_flops(prefix_tokens + tokens, dim, hidden_dim, norm=norm)
        if block in by_block:
            stage = by_block[block]
            total += score_flops(pruning, stage, compared)
            tokens = stage.groups * stage.kept
    return total, prefix_tokens + tokens


def block_flops(tokens: int, dim: int, hidden_dim: int, *, norm: int) -> int:
    """FLOPs of one pre-norm block: per token four projections, the MLP, attention, two norms."""
    linear = dim * (4 * dim + 2 * hidden_dim)
    return tokens * (linear + 2 * tokens * dim + 2 * norm * dim)
