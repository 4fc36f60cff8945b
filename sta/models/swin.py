"""VideoSwin with STA at the start of its second, third and fourth stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.base import (
    MLP,
    ModelOutput,
    VideoModel,
    check_input_size,
    initialize,
    project_tubes,
)
from sta.models.swin_attention import FilledWindows, WindowAttention, filled_windows
from sta.models.swin_sparse_windows import ExactWindows, exact_windows
from sta.models.swin_windows import Filling, WindowGrid, WindowShape, fill
from sta.pruning import Pruning, Stage, swin_stages
from sta.score import fixed_kept, kept_places

STAGES = 4


@dataclass(frozen=True)
class SwinConfig:
    """Shape of a VideoSwin (Video Swin Transformer, section 3.3).

    Attributes:
        width: channels of the first stage; each later stage has twice those of the one before.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: attention window (frames, height, width) in tokens; clipped where the grid is
            smaller.
        frames: input frames T.
        image_size: input height and width in pixels.
        patch_size: patch height and width in pixels.
        tubelet: frames per token.
        mlp_ratio: hidden channels of the MLP over the width.
    """

    width: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: tuple[int, int, int] = (8, 7, 7)
    frames: int = 32
    image_size: int = 224
    patch_size: int = 4
    tubelet: int = 2
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        for stage, heads in enumerate(self.heads):
            if self.stage_width(stage) % heads:
                raise ValueError(
                    f"width {self.stage_width(stage)} of stage {stage + 1} is not a multiple of "
                    f"{heads} heads"
                )
        check_input_size(
            frames=self.frames,
            tubelet=self.tubelet,
            image_size=self.image_size,
            patch_size=self.patch_size,
        )

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""
        return 3, self.frames, self.image_size, self.image_size

    def stage_width(self, stage: int) -> int:
        """Channels of a stage, counted from 0."""
        return int(self.width * 2**stage)

    def stage_grid(self, stage: int) -> tuple[int, int, int]:
        """(n_t, height, width) in tokens of a stage, counted from 0; odd sides round up."""
        side = self.image_size // self.patch_size
        for _ in range(stage):
            side = (side + 1) // 2
        return self.frames // self.tubelet, side, side

    def stage_places(self, stage: int) -> int:
        """Places in the grid of a stage, counted from 0."""
        slots, height, width = self.stage_grid(stage)
        return slots * height * width

    def stages(self, pruning: Pruning) -> tuple[Stage, ...]:
        """Pruning stages; see `sta.pruning.swin_stages` for the errors."""
        grids = [self.stage_grid(stage) for stage in range(1, STAGES)]
        return swin_stages(
            pruning,
            slots=grids[0][0],
            tokens_per_slot=[height * width for _, height, width in grids],
        )

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept mask of each stage."""
        return tuple((stage.groups, stage.tokens) for stage in self.stages(pruning))


class PatchEmbed(nn.Module):
    """Tubes of (tubelet, patch, patch) pixels to normalized tokens (B, n_t, h, w, width)."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        tube = (config.tubelet, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.width, kernel_size=tube, stride=tube)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, clips: Tensor) -> Tensor:  # noqa: D102
        tokens: Tensor = self.norm(project_tubes(self.proj, clips))
        return tokens


class PatchMerging(nn.Module):
    """Joins 2 x 2 tokens of a frame into one of twice the width; odd sides are padded with 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_t, h, w, C) to (B, n_t, ceil(h / 2), ceil(w / 2), 2 C)."""
        merged: Tensor = self.reduction(self.norm(torch.cat(_corners(x), dim=-1)))
        return merged


def _corners(x: Tensor) -> list[Tensor]:
    """The four tokens of each 2 x 2 patch of (B, n_t, h, w, C), down the columns."""
    x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
    return [x[:, :, top::2, left::2] for left in (0, 1) for top in (0, 1)]


class Block(nn.Module):
    """Pre-norm transformer block over the tokens that are left of a grid."""

    def __init__(self, config: SwinConfig, stage: int) -> None:
        super().__init__()
        width = config.stage_width(stage)
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, config.heads[stage], window=config.window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, width * config.mlp_ratio)

    def forward(
        self,
        x: Tensor,
        windows: FilledWindows | ExactWindows,
        similarity: str | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, M, C) to the block's output and, if asked for, what STA compares (B, M, d').

        Args:
            x: tokens in the order of their places.
            windows: who attends to whom.
            similarity: "q", "k" or "v" for that projection averaged over heads, "ffn" for the
                normalized input of the MLP, None for nothing.
        """
        attended, qkv = self.attn(self.norm1(x), windows)
        x = x + attended
        hidden = self.norm2(x)
        compared = None
        if similarity == "ffn":
            compared = hidden
        elif similarity is not None:
            compared = qkv[:, :, "qkv".index(similarity)].mean(dim=2)
        return x + self.mlp(hidden), compared


class SwinStage(nn.Module):
    """One hierarchical stage: its blocks and, but for the last, the patch merging after them."""

    def __init__(self, config: SwinConfig, stage: int) -> None:
        super().__init__()
        grid = config.stage_grid(stage)
        self.plain = WindowGrid(WindowShape.fit(grid, config.window, shifted=False))
        self.shifted = WindowGrid(WindowShape.fit(grid, config.window, shifted=True))
        self.blocks = nn.ModuleList(Block(config, stage) for _ in range(config.depths[stage]))
        self.downsample = PatchMerging(config.stage_width(stage)) if stage < STAGES - 1 else None

    def forward(
        self, x: Tensor, filling: Filling | None, *, exact: bool, similarity: str | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the blocks and merges patches.

        Args:
            x: (B, M, C), the kept tokens in the order of their places.
            filling: where they stand; None for all places of the grid.
            exact: whether windows that have lost tokens are computed in the exact form.
            similarity: what to compare after the last block; see `Block.forward`.

        Returns:
            The grid of the next stage (B, n_t, h, w, 2 C) and what is compared there
            (B, n_t, h, w, d'), summed over the patches that merge. Of the last stage, its tokens
            (B, M, C) and nothing.
        """
        if filling is None:
            every = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
            filling, exact = Filling(own=every, source=every), False
        plan = exact_windows if exact else filled_windows
        windows = plan(filling, self.plain), plan(filling, self.shifted)
        compared = None
        for index, block in enumerate(self.blocks):
            last = index == len(self.blocks) - 1
            x, compared = block(x, windows[index % 2], similarity if last else None)
        if self.downsample is None:
            return x, None
        if compared is not None:
            compared = torch.stack(_corners(self._spread(compared, filling))).sum(dim=0)
        return self.downsample(self._spread(x, filling)), compared

    def _spread(self, tokens: Tensor, filling: Filling) -> Tensor:
        """(B, M, C) to (B, n_t, h, w, C), dropped places filled."""
        every = filling.spread(tokens)
        return every.view(len(every), *self.plain.shape.grid, -1)


class VideoSwin(VideoModel):
    """VideoSwin for classification, with STA (paper, sections 4.1 and 4.2).

    Tokens are dropped where patches have merged, at the start of the second to fourth stage. What
    is compared between frames comes from the last block before, averaged over heads and summed
    over the patches that merge; the semantic score is that of the merged tokens. This is the
    "end of the first three stages" of the paper, and costs no projection of its own, as Table 3
    counts none. Linear layers and norms see kept tokens alone; in windows, dropped places hold the
    nearest kept token of their frame (see `sta.models.swin_windows.nearest_kept`), also where
    patches merge. The classifier sees the mean of the tokens that are kept at the end.

    Parameter names are those of the original checkpoints without `backbone.`, the classifier as
    `head`.
    """

    config: SwinConfig

    def __init__(
        self,
        config: SwinConfig,
        *,
        num_classes: int,
        pruning: Pruning | None = None,
        architecture: str = "videoswin",
    ) -> None:
        super().__init__(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        )
        self.patch_embed = PatchEmbed(config)
        self.layers = nn.ModuleList(SwinStage(config, stage) for stage in range(STAGES))
        width = config.stage_width(STAGES - 1)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        for stage in self.stages:
            side = config.stage_grid(stage.block)[1:]
            fixed = fixed_kept(self.pruning, stage, side=side)
            self.register_buffer(f"fixed_kept_{stage.block}", fixed, persistent=False)
        self.apply(initialize)

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips; see `VideoModel.forward`."""
        self.check_clips(clips)
        x = self.patch_embed(clips)
        prunings = {stage.block: stage for stage in self.stages}
        exact = self.pruning.window_attention == "exact"
        compared = None
        kept = []
        for number, layer in enumerate(self.layers):
            stage = prunings.get(number)
            filling = None
            tokens = x.flatten(1, 3)
            if stage is not None:
                mask = self._kept(x, compared, stage)
                kept.append(mask)
                filling = fill(mask, kept=stage.kept, width=x.shape[3])
                tokens = filling.gather(tokens)
            similarity = self.pruning.similarity if number + 1 in prunings else None
            x, compared = layer(tokens, filling, exact=exact, similarity=similarity)
        logits: Tensor = self.head(self.norm(x).mean(dim=1))
        return ModelOutput(logits, tuple(kept))

    def _kept(self, x: Tensor, compared: Tensor | None, stage: Stage) -> Tensor:
        """Mask (B, n_t, n_s) of the tokens of x (B, n_t, h, w, C) that a stage keeps."""
        assert compared is not None
        places = kept_places(
            x.flatten(2, 3),
            compared.flatten(2, 3),
            pruning=self.pruning,
            stage=stage,
            fixed=getattr(self, f"fixed_kept_{stage.block}"),
        )
        mask = torch.zeros(
            x.shape[0], stage.groups, stage.tokens, dtype=torch.bool, device=x.device
        )
        return mask.scatter(-1, places, torch.ones_like(places, dtype=torch.bool))
