"""VideoMAE's ViT, with STA after three of its blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.architectures import VIT_NORM_EPS, ViTConfig
from sta.models.attention import attention
from sta.models.base import MLP, ModelOutput, VideoModel, embed_tubelets, initialize
from sta.pruning import Pruning, PruningStage
from sta.score import fixed_selection, select_tokens


def sincos_table(positions: int, dim: int) -> Tensor:
    """Fixed position embedding (positions, dim), float32.

    Angle pos / 10000^(2 * (j // 2) / dim), sine at even j and cosine at odd j, computed in
    float64 as VideoMAE does. VideoMAE's checkpoints do not contain the table.
    """
    channel = torch.arange(dim, dtype=torch.float64)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / torch.pow(
        10000.0, 2 * torch.div(channel, 2, rounding_mode="floor") / dim
    )
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


class ViTPatchEmbed(nn.Module):
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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, d) to the attended (B, N, d) and the projections (3, B, heads, N, d / heads)."""
        batch, tokens, dim = x.shape
        key_bias = torch.zeros_like(self.q_bias) if self.k_bias is None else self.k_bias
        bias = torch.cat([self.q_bias, key_bias, self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        attended = attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, dim)), qkv


class ViTBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = Attention(config.embed_dim, config.num_heads, key_bias=config.key_bias)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.mlp = MLP(config.embed_dim, config.embed_dim * config.mlp_ratio, config.activation)

    def forward(self, x: Tensor, similarity: str | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, N, d) to the block's output and the features (B, N, d') that STA compares.

        Args:
            x: tokens.
            similarity: "q", "k" or "v" for that projection averaged over heads, "ffn" for the
                normalized input of the MLP, None for no features.
        """
        attended, qkv = self.attn(self.norm1(x))
        x = x + attended
        hidden = self.norm2(x)
        compared = None
        if similarity == "ffn":
            compared = hidden
        elif similarity is not None:
            heads = qkv["qkv".index(similarity)]
            compared = heads.mean(dim=1, dtype=torch.promote_types(heads.dtype, torch.float32))
        return x + self.mlp(hidden), compared


class VisionTransformer(VideoModel):
    """VideoMAE ViT for classification, with STA (paper, sections 3.1 and 3.2).

    Parameter names are those of VideoMAE's checkpoints.
    """

    config: ViTConfig

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
        self.patch_embed = ViTPatchEmbed(config)
        temporal, spatial = config.grid
        table = sincos_table(temporal * spatial, config.embed_dim)
        self.register_buffer("pos_embed", table, persistent=False)
        self.blocks = nn.ModuleList([ViTBlock(config) for _ in range(config.depth)])
        self.fc_norm = nn.LayerNorm(config.embed_dim, eps=VIT_NORM_EPS)
        self.head = nn.Linear(config.embed_dim, num_classes)
        for stage in self.stages:
            # With grouping "released", later groups hold what is left of several frames.
            whole_frame = stage.tokens == spatial
            fixed = fixed_selection(
                self.pruning, stage, grid_size=config.grid_size if whole_frame else None
            )
            self.register_buffer(f"fixed_selection_{stage.block}", fixed, persistent=False)
        self.apply(initialize)

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips; see `VideoModel.forward`."""
        x, _, kept = self.tokens(clips)
        # Of tokens in bfloat16 the classifier, with its norm, may have weights in float32.
        mean = x.mean(dim=1, dtype=self.fc_norm.weight.dtype)
        logits: Tensor = self.head(self.fc_norm(mean))
        return ModelOutput(logits, kept)

    def tokens(
        self, clips: Tensor, *, blocks: list[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The tokens that reach the head, with their positions in the clip.

        Args:
            clips: as for `forward`.
            blocks: if given, a list to which (tokens, positions) of every block's output is
                appended, before the pruning that may follow the block.

        Returns:
            (B, N, d) tokens, (B, N) indices in the flat (n_t * n_s) grid, and the kept-token masks.
        """
        self.check_clips(clips)
        x = self.patch_embed(clips)
        x = x + self.pos_embed.to(x.dtype)
        positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        by_block = {stage.block: stage for stage in self.stages}
        kept = []
        for index, block in enumerate(self.blocks):
            stage = by_block.get(index)
            x, compared = block(x, self.pruning.similarity if stage else None)
            if blocks is not None:
                blocks.append((x, positions))
            if stage is not None:
                x, positions = self.prune(x, compared, positions, stage)
                kept.append(self._mask(positions))
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
        batch, _, dim = x.shape
        groups = x.view(batch, stage.groups, stage.tokens, dim)
        within = select_tokens(
            groups,
            compared.view(batch, stage.groups, stage.tokens, -1),
            pruning=self.pruning,
            stage=stage,
            fixed=getattr(self, f"fixed_selection_{stage.block}"),
        )
        start = torch.arange(stage.groups, device=x.device)[:, None] * stage.tokens
        index = (within + start).flatten(1)
        return x.gather(1, index[..., None].expand(-1, -1, dim)), positions.gather(1, index)

    def _mask(self, positions: Tensor) -> Tensor:
        batch, (temporal, spatial) = positions.shape[0], self.config.grid
        mask = torch.zeros(batch, temporal * spatial, dtype=torch.bool, device=positions.device)
        kept = torch.ones_like(positions, dtype=torch.bool)
        return mask.scatter(1, positions, kept).view(-1, temporal, spatial)
