"""VideoSwin, with STA at the start of its second, third and fourth stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.base import MLP, ModelOutput, VideoModel, embed_tubelets, initialize
from sta.models.configs import SWIN_STAGES, ModelConfig, SwinConfig
from sta.models.layout import Layout
from sta.models.swin_attention import DenseWindows, WindowAttention, dense_windows
from sta.models.swin_flops import swin_flops
from sta.models.swin_sparse_windows import SparseWindows, sparse_windows
from sta.models.swin_windows import NearestFill, WindowGrid, WindowShape, nearest_fill
from sta.pruning import Pruning, PruningStage
from sta.score import fixed_selection, select_tokens


class SwinPatchEmbed(nn.Module):
    """Tubelets of (t, patch, patch) pixels to normalized tokens (B, n_t, h, w, C)."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        tubelet = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.embed_dim, kernel_size=tubelet, stride=tubelet)
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, clips: Tensor) -> Tensor:  # noqa: D102
        tokens: Tensor = self.norm(embed_tubelets(self.proj, clips))
        return tokens


class PatchMerging(nn.Module):
    """Joins 2 x 2 tokens of a frame into one of twice the channels; pads odd sides with 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_t, h, w, C) to (B, n_t, ceil(h / 2), ceil(w / 2), 2 C)."""
        merged: Tensor = self.reduction(self.norm(torch.cat(_corners(x), dim=-1)))
        return merged


def _corners(x: Tensor) -> list[Tensor]:
    """The four tokens of each 2 x 2 patch of (B, n_t, h, w, C), column by column."""
    x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
    return [x[:, :, top::2, left::2] for left in (0, 1) for top in (0, 1)]


class SwinBlock(nn.Module):
    """Pre-norm transformer block over the kept tokens of a grid."""

    def __init__(self, config: SwinConfig, stage: int) -> None:
        super().__init__()
        dim = config.stage_dim(stage)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, config.num_heads[stage], window_size=config.window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, dim * config.mlp_ratio)

    def forward(
        self,
        x: Tensor,
        windows: DenseWindows | SparseWindows,
        similarity: str | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, M, C) to the block's output and the features (B, M, d') that STA compares.

        Args:
            x: tokens in grid order.
            windows: which tokens attend to each other.
            similarity: "q", "k" or "v" for that projection averaged over heads, "ffn" for the
                normalized input of the MLP, None for no features.
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
    """One hierarchical stage: its blocks, and patch merging after all but the last stage."""

    def __init__(self, config: SwinConfig, stage: int) -> None:
        super().__init__()
        grid = config.stage_grid(stage)
        self.unshifted = WindowGrid(WindowShape.fit(grid, config.window_size, shifted=False))
        self.shifted = WindowGrid(WindowShape.fit(grid, config.window_size, shifted=True))
        self.blocks = nn.ModuleList(SwinBlock(config, stage) for _ in range(config.depths[stage]))
        last = stage == SWIN_STAGES - 1
        self.downsample = None if last else PatchMerging(config.stage_dim(stage))

    def forward(
        self, x: Tensor, fill: NearestFill | None, *, sparse: bool, similarity: str | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the blocks and merges patches.

        Args:
            x: (B, M, C), the kept tokens in grid order.
            fill: their grid positions; None if no token was dropped.
            sparse: whether windows that have lost tokens use sparse window attention.
            similarity: the features to compare after the last block; see `SwinBlock.forward`.

        Returns:
            The grid of the next stage (B, n_t, h, w, 2 C) and the features compared there
            (B, n_t, h, w, d'), summed over the merged patches. Of the last stage, its tokens
            (B, M, C) and None.
        """
        if fill is None:
            every = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
            fill, sparse = NearestFill(indices=every, source=every), False
        plan = sparse_windows if sparse else dense_windows
        windows = plan(fill, self.unshifted), plan(fill, self.shifted)
        compared = None
        for index, block in enumerate(self.blocks):
            last = index == len(self.blocks) - 1
            x, compared = block(x, windows[index % 2], similarity if last else None)
        if self.downsample is None:
            return x, None
        if compared is not None:
            compared = torch.stack(_corners(self._fill_grid(compared, fill))).sum(dim=0)
        return self.downsample(self._fill_grid(x, fill)), compared

    def _fill_grid(self, tokens: Tensor, fill: NearestFill) -> Tensor:
        """(B, M, C) to (B, n_t, h, w, C), with copies at dropped positions."""
        filled = fill.expand(tokens)
        return filled.view(len(filled), *self.unshifted.shape.grid_size, -1)


_BUFFERS = r".*\.(relative_position_index|attn_mask)"
_CLASSIFIER = (r"^cls_head\.fc_cls\.", "head.")

ORIGINAL = Layout(
    title="VideoSwin",
    marks=("layers.", "patch_embed."),
    renames=(_CLASSIFIER,),
    dropped=_BUFFERS,
)
MMACTION = Layout(
    title="mmaction2's VideoSwin",
    marks=("layers.", "patch_embed.", "norm3."),
    renames=(_CLASSIFIER, (r"^norm3\.", "norm.")),
    dropped=_BUFFERS,
)
TORCHVISION = Layout(
    title="torchvision's swin3d",
    marks=("features.", "patch_embed."),
    renames=(
        *((rf"^features\.{2 * s}\.(\d+)\.", rf"layers.{s}.blocks.\1.") for s in range(4)),
        *((rf"^features\.{2 * s + 1}\.", f"layers.{s}.downsample.") for s in range(3)),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
    ),
    dropped=_BUFFERS,
)


class VideoSwin(VideoModel):
    """VideoSwin for classification, with STA (paper, sections 4.1 and 4.2).

    Tokens are dropped after patch merging, at the start of the second to fourth stage. The features
    compared between frames come from the last block before the merging, averaged over heads and
    summed over the merged patches; the semantic score is that of the merged tokens. This is the
    paper's "end of the first three stages". It needs no additional projection, as Table 3 counts
    none. Linear layers and norms compute kept tokens only. In windows and in patch merging, the
    nearest kept token of the frame stands in for a dropped token (`sta.models.swin_windows`). The
    classifier takes the mean of the tokens that the last stage keeps.

    Parameter names are those of the original checkpoints without `backbone.`, the classifier as
    `head`.
    """

    layouts: ClassVar[tuple[Layout, ...]] = (ORIGINAL, MMACTION, TORCHVISION)

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
        self.patch_embed = SwinPatchEmbed(config)
        self.layers = nn.ModuleList(SwinStage(config, stage) for stage in range(SWIN_STAGES))
        dim = config.stage_dim(SWIN_STAGES - 1)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        for stage in self.stages:
            grid_size = config.stage_grid(stage.block)[1:]
            fixed = fixed_selection(self.pruning, stage, grid_size=grid_size)
            self.register_buffer(f"fixed_selection_{stage.block}", fixed, persistent=False)
        self.apply(initialize)

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips; see `VideoModel.forward`."""
        self.check_clips(clips)
        x = self.patch_embed(clips)
        by_layer = {stage.block: stage for stage in self.stages}
        sparse = self.pruning.window_attention == "sparse"
        compared = None
        kept = []
        for number, layer in enumerate(self.layers):
            stage = by_layer.get(number)
            fill = None
            tokens = x.flatten(1, 3)
            if stage is not None:
                mask = self._kept_mask(x, compared, stage)
                kept.append(mask)
                fill = nearest_fill(mask, kept=stage.kept, width=x.shape[3])
                tokens = fill.gather(tokens)
            similarity = self.pruning.similarity if number + 1 in by_layer else None
            x, compared = layer(tokens, fill, sparse=sparse, similarity=similarity)
        features = self.norm(x).mean(dim=1)
        return ModelOutput(self.classify(features), tuple(kept), features)

    @classmethod
    def closed_form_flops(
        cls, config: ModelConfig, pruning: Pruning, *, num_classes: int, norm: int
    ) -> int:
        """FLOPs of one view; with sparse windows, of one whose tokens are dropped at random."""
        assert isinstance(config, SwinConfig)
        return int(swin_flops(config, pruning, num_classes=num_classes, norm=norm))

    def clip_flops(self, kept: Sequence[Tensor], *, norm: int) -> list[int]:
        """FLOPs of each clip; with sparse windows, they follow from what it keeps."""
        classes = self.head.out_features
        flops = swin_flops(self.config, self.pruning, num_classes=classes, norm=norm, kept=kept)
        each: list[int] = flops.tolist()
        return each

    def _kept_mask(self, x: Tensor, compared: Tensor | None, stage: PruningStage) -> Tensor:
        """Mask (B, n_t, n_s) of the tokens of x (B, n_t, h, w, C) that a stage keeps."""
        assert compared is not None
        indices = select_tokens(
            x.flatten(2, 3),
            compared.flatten(2, 3),
            pruning=self.pruning,
            stage=stage,
            fixed=getattr(self, f"fixed_selection_{stage.block}"),
        )
        mask = torch.zeros(
            x.shape[0], stage.groups, stage.tokens, dtype=torch.bool, device=x.device
        )
        return mask.scatter(-1, indices, torch.ones_like(indices, dtype=torch.bool))
