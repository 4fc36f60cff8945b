"""VideoMAE's ViT with STA after three of its blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.base import (
    ACTIVATIONS,
    MLP,
    ModelOutput,
    VideoModel,
    check_input_size,
    initialize,
    project_tubes,
)
from sta.pruning import Pruning, Stage, vit_stages
from sta.score import fixed_kept, kept_places

_NORM_EPS = 1e-6


@dataclass(frozen=True)
class ViTConfig:
    """Shape of a VideoMAE ViT (VideoMAE, appendix; `width` to `heads` per model size).

    Attributes:
        width: channels d.
        depth: number of blocks L.
        heads: attention heads.
        frames: input frames T.
        image_size: input height and width in pixels.
        patch_size: patch height and width in pixels.
        tubelet: frames per token.
        mlp_ratio: hidden channels of the MLP over `width`.
        activation: of the MLP, one of `sta.models.base.ACTIVATIONS`; VideoMAE has the exact GELU.
        norm_eps: epsilon of the blocks' layer norms. That of the last norm is always VideoMAE's
            1e-6.
        key_bias: whether keys have a bias. Softmax does not see it; STA compares keys and does.
    """

    width: int
    depth: int
    heads: int
    frames: int = 16
    image_size: int = 224
    patch_size: int = 16
    tubelet: int = 2
    mlp_ratio: int = 4
    activation: str = "gelu"
    norm_eps: float = _NORM_EPS
    key_bias: bool = False

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}"
            )
        check_input_size(
            frames=self.frames,
            tubelet=self.tubelet,
            image_size=self.image_size,
            patch_size=self.patch_size,
        )

    @property
    def side(self) -> int:
        """Tokens along the height, and along the width."""
        return self.image_size // self.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        """(n_t, n_s): temporal slots and spatial tokens per slot."""
        return self.frames // self.tubelet, self.side**2

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""
        return 3, self.frames, self.image_size, self.image_size

    def stages(self, pruning: Pruning) -> tuple[Stage, ...]:
        """Pruning stages; see `sta.pruning.vit_stages` for the errors."""
        slots, tokens = self.grid
        return vit_stages(pruning, depth=self.depth, slots=slots, tokens_per_slot=tokens)

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept mask of each stage: the same grid for all."""
        return tuple(self.grid for _ in self.stages(pruning))


def sincos_table(positions: int, width: int) -> Tensor:
    """Fixed position embedding (positions, width), float32.

    Angle pos / 10000^(2 * (j // 2) / width), sine at even j and cosine at odd j, computed in
    float64 as VideoMAE does; it is not part of its checkpoints.
    """
    channel = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / torch.pow(
        10000.0, 2 * torch.div(channel, 2, rounding_mode="floor") / width
    )
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


class PatchEmbed(nn.Module):
    """Tubes of (tubelet, patch, patch) pixels to tokens (B, n_t * n_s, width), time first."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        tube = (config.tubelet, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.width, kernel_size=tube, stride=tube)

    def forward(self, clips: Tensor) -> Tensor:  # noqa: D102
        return project_tubes(self.proj, clips).flatten(1, 3)


class Attention(nn.Module):
    """Multi-head attention with biases for queries and values, and for keys where asked for."""

    k_bias: nn.Parameter | None

    def __init__(self, width: int, heads: int, *, key_bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.register_parameter("k_bias", nn.Parameter(torch.zeros(width)) if key_bias else None)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, d) to the attended (B, N, d) and the projections (3, B, heads, N, d / heads)."""
        batch, tokens, width = x.shape
        key_bias = torch.zeros_like(self.q_bias) if self.k_bias is None else self.k_bias
        bias = torch.cat([self.q_bias, key_bias, self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)), qkv


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = Attention(config.width, config.heads, key_bias=config.key_bias)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = MLP(config.width, config.width * config.mlp_ratio, config.activation)

    def forward(self, x: Tensor, similarity: str | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, N, d) to the block's output and, if asked for, what STA compares (B, N, d').

        Args:
            x: tokens.
            similarity: "q", "k" or "v" for that projection averaged over heads, "ffn" for the
                normalized input of the MLP, None for nothing.
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
        self.patch_embed = PatchEmbed(config)
        slots, tokens = config.grid
        table = sincos_table(slots * tokens, config.width)
        self.register_buffer("pos_embed", table, persistent=False)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.fc_norm = nn.LayerNorm(config.width, eps=_NORM_EPS)
        self.head = nn.Linear(config.width, num_classes)
        for stage in self.stages:
            fixed = fixed_kept(self.pruning, stage, side=self._side_of(stage))
            self.register_buffer(f"fixed_kept_{stage.block}", fixed, persistent=False)
        self.apply(initialize)

    def _side_of(self, stage: Stage) -> tuple[int, int] | None:
        whole_frame = stage.tokens == self.config.grid[1]
        return (self.config.side, self.config.side) if whole_frame else None

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips; see `VideoModel.forward`."""
        x, _, kept = self.tokens(clips)
        logits: Tensor = self.head(self.fc_norm(x.mean(dim=1)))
        return ModelOutput(logits, kept)

    def tokens(
        self, clips: Tensor, *, blocks: list[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The tokens that reach the head, and where in the clip they come from.

        Args:
            clips: as for `forward`.
            blocks: where given, (tokens, places) of every block's output, before any pruning
                that follows it, are appended.

        Returns:
            (B, N, d) tokens, (B, N) places in the flat (n_t * n_s) grid, and the kept masks.
        """
        self.check_clips(clips)
        x = self.patch_embed(clips)
        x = x + self.pos_embed.to(x.dtype)
        places = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        by_block = {stage.block: stage for stage in self.stages}
        kept = []
        for index, block in enumerate(self.blocks):
            stage = by_block.get(index)
            x, compared = block(x, self.pruning.similarity if stage else None)
            if blocks is not None:
                blocks.append((x, places))
            if stage is not None:
                x, places = self.prune(x, compared, places, stage)
                kept.append(self._mask(places))
        return x, places, tuple(kept)

    def prune(
        self, x: Tensor, compared: Tensor, places: Tensor, stage: Stage
    ) -> tuple[Tensor, Tensor]:
        """One stage: scores, chooses, and gathers once.

        Args:
            x: (B, N, d) tokens after the stage's block.
            compared: (B, N, d') what STA compares, averaged over heads.
            places: (B, N) int64, where the tokens come from in the flat (n_t * n_s) grid.
            stage: which.

        Returns:
            The tokens that are left (B, M, d) and their places (B, M).
        """
        batch, _, width = x.shape
        groups = x.view(batch, stage.groups, stage.tokens, width)
        within = kept_places(
            groups,
            compared.view(batch, stage.groups, stage.tokens, -1),
            pruning=self.pruning,
            stage=stage,
            fixed=getattr(self, f"fixed_kept_{stage.block}"),
        )
        start = torch.arange(stage.groups, device=x.device)[:, None] * stage.tokens
        index = (within + start).flatten(1)
        return x.gather(1, index[..., None].expand(-1, -1, width)), places.gather(1, index)

    def _mask(self, places: Tensor) -> Tensor:
        slots, tokens = self.config.grid
        mask = torch.zeros(places.shape[0], slots * tokens, dtype=torch.bool, device=places.device)
        alive = torch.ones_like(places, dtype=torch.bool)
        return mask.scatter(1, places, alive).view(-1, slots, tokens)
