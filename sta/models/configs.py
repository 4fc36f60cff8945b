"""Shapes of models: how large they are, and which token grids they have; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from sta.models.backbones import check_backbone
from sta.pruning import (
    Pruning,
    PruningStage,
    largest_r,
    largest_swin_r,
    swin_stages,
    vit_stages,
)

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]

VIT_NORM_EPS = 1e-6

# Of the red, green and blue of a pixel from 0 to 1.
Color = tuple[float, float, float]
IMAGENET_MEAN: Color = (0.485, 0.456, 0.406)
IMAGENET_STD: Color = (0.229, 0.224, 0.225)

SWIN_STAGES = 4

_STD_BOUNDS = 1e-3, 100.0


class ModelConfig(Protocol):
    """The part of a shape that all backbones share."""

    @property
    def backbone(self) -> str:
        """Name of the backbone, a key of `BACKBONES`."""

    @property
    def frames(self) -> int:
        """Input frames T."""

    @property
    def image_size(self) -> int:
        """Input height and width in pixels."""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""

    @property
    def mean(self) -> Color:
        """What is subtracted from pixels from 0 to 1: red, green, blue."""

    @property
    def std(self) -> Color:
        """What the difference is divided by."""

    def stages(self, pruning: Pruning) -> tuple[PruningStage, ...]:
        """Pruning stages, empty at r = 0.

        Raises:
            ValueError: the pruning does not fit this shape.
        """

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept-token mask of each stage in `stages(pruning)`."""

    def token_grids(self, pruning: Pruning) -> tuple[tuple[int, int, int], ...]:
        """(n_t, rows, columns) of the tokens of each stage in `stages(pruning)`."""

    def largest_r(self, pruning: Pruning) -> int:
        """The largest r for which `stages` accepts the other settings."""

    def stage_names(self, pruning: Pruning) -> tuple[str, ...]:
        """Where each stage of `stages(pruning)` runs, for people."""

    def token_pixels(self, pruning: Pruning) -> tuple[int, ...]:
        """Height and width in pixels of a token at each stage of `stages(pruning)`."""

    def flops_vary(self, pruning: Pruning) -> bool:
        """Whether two clips can need different FLOPs."""


def _check_input_size(*, frames: int, tubelet_size: int, image_size: int, patch_size: int) -> None:
    if frames < tubelet_size or frames % tubelet_size:
        raise ValueError(
            f"frames must be a multiple of {tubelet_size} (tubelet_size); got {frames}"
        )
    if image_size < patch_size or image_size % patch_size:
        below = max(image_size // patch_size, 1) * patch_size
        raise ValueError(
            f"image_size must be a multiple of {patch_size} (patch_size), such as {below} "
            f"or {below + patch_size}; got {image_size}"
        )


def _check_color(mean: Color, std: Color) -> None:
    """Raise ValueError for a normalization that no trained model has, or of no finite pixels."""
    low, high = _STD_BOUNDS
    if not all(0 <= each <= high for each in mean):
        raise ValueError(f"mean must be three numbers from 0 to {high:g}; got {mean}")
    if not all(low <= each <= high for each in std):
        raise ValueError(f"std must be three numbers from {low:g} to {high:g}; got {std}")


@dataclass(frozen=True)
class ViTConfig:
    """Shape of a ViT whose tokens all attend to each other, in space and time.

    Attributes:
        embed_dim: channels d of a token.
        depth: number of blocks L.
        num_heads: attention heads.
        frames: input frames T.
        image_size: input height and width in pixels.
        patch_size: patch height and width in pixels.
        tubelet_size: frames per token.
        mlp_dim: hidden channels of the MLP; 0 for four times `embed_dim`.
        activation: activation of the MLP.
        norm_eps: epsilon of the blocks' layer norms.
        key_bias: whether keys have a bias. Without rotary positions softmax cancels it, but STA
            compares keys.
        backbone: which backbone this is, a key of `BACKBONES`.
        mean: what is subtracted from pixels from 0 to 1: red, green, blue.
        std: what the difference is divided by.
    """

    embed_dim: int
    depth: int
    num_heads: int
    frames: int = 16
    image_size: int = 224
    patch_size: int = 16
    tubelet_size: int = 2
    mlp_dim: int = 0
    activation: Activation = "gelu"
    norm_eps: float = VIT_NORM_EPS
    key_bias: bool = False
    backbone: str = "videomae"
    mean: Color = IMAGENET_MEAN
    std: Color = IMAGENET_STD

    def __post_init__(self) -> None:
        check_backbone(self.backbone)
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
            )
        if self.activation not in get_args(Activation):
            raise ValueError(
                f"activation must be one of {', '.join(get_args(Activation))}; "
                f"got {self.activation!r}"
            )
        _check_color(self.mean, self.std)
        _check_input_size(
            frames=self.frames,
            tubelet_size=self.tubelet_size,
            image_size=self.image_size,
            patch_size=self.patch_size,
        )

    @property
    def hidden_dim(self) -> int:
        """Hidden channels of the MLP."""
        return self.mlp_dim or 4 * self.embed_dim

    @property
    def grid_size(self) -> tuple[int, int]:
        """(height, width) of a frame in tokens."""
        side = self.image_size // self.patch_size
        return side, side

    @property
    def grid(self) -> tuple[int, int]:
        """(n_t, n_s): temporal positions, and spatial tokens at each."""
        height, width = self.grid_size
        return self.frames // self.tubelet_size, height * width

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""
        return 3, self.frames, self.image_size, self.image_size

    def stages(self, pruning: Pruning) -> tuple[PruningStage, ...]:
        """Pruning stages; see `sta.pruning.vit_stages` for the errors."""
        temporal, spatial = self.grid
        return vit_stages(
            pruning, depth=self.depth, temporal_positions=temporal, spatial_tokens=spatial
        )

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept-token mask of each stage: the same grid for all."""
        return tuple(self.grid for _ in self.stages(pruning))

    def token_grids(self, pruning: Pruning) -> tuple[tuple[int, int, int], ...]:
        """(n_t, rows, columns) of the tokens of each stage: the same for all."""
        return tuple((self.grid[0], *self.grid_size) for _ in self.stages(pruning))

    def largest_r(self, pruning: Pruning) -> int:
        """The largest r for which `stages` accepts the other settings."""
        temporal, spatial = self.grid
        return largest_r(pruning, temporal_positions=temporal, spatial_tokens=spatial)

    def stage_names(self, pruning: Pruning) -> tuple[str, ...]:
        """Where each stage runs, for people."""
        return tuple(f"after block {s.block + 1} of {self.depth}" for s in self.stages(pruning))

    def token_pixels(self, pruning: Pruning) -> tuple[int, ...]:
        """Height and width in pixels of a token at each stage: the same for all."""
        return tuple(self.patch_size for _ in self.stages(pruning))

    def flops_vary(self, pruning: Pruning) -> bool:
        """False: all clips need the same FLOPs."""
        return False


@dataclass(frozen=True)
class SwinConfig:
    """Shape of a VideoSwin (Video Swin Transformer, section 3.3).

    Attributes:
        embed_dim: channels of the first stage; each later stage has twice as many.
        depths: blocks per stage.
        num_heads: attention heads per stage.
        window_size: attention window (frames, height, width) in tokens; clipped where the grid is
            smaller.
        frames: input frames T.
        image_size: input height and width in pixels.
        patch_size: patch height and width in pixels.
        tubelet_size: frames per token.
        mlp_ratio: hidden channels of the MLP divided by those of its stage.
        mean: what is subtracted from pixels from 0 to 1: red, green, blue.
        std: what the difference is divided by.
    """

    embed_dim: int
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]
    window_size: tuple[int, int, int] = (8, 7, 7)
    frames: int = 32
    image_size: int = 224
    patch_size: int = 4
    tubelet_size: int = 2
    mlp_ratio: int = 4
    mean: Color = IMAGENET_MEAN
    std: Color = IMAGENET_STD

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return "videoswin"

    def __post_init__(self) -> None:
        for stage, heads in enumerate(self.num_heads):
            if self.stage_dim(stage) % heads:
                raise ValueError(
                    f"{self.stage_dim(stage)} channels of stage {stage + 1} are not a multiple of "
                    f"its num_heads, {heads}"
                )
        _check_color(self.mean, self.std)
        _check_input_size(
            frames=self.frames,
            tubelet_size=self.tubelet_size,
            image_size=self.image_size,
            patch_size=self.patch_size,
        )

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""
        return 3, self.frames, self.image_size, self.image_size

    def stage_dim(self, stage: int) -> int:
        """Channels of a stage, counted from 0."""
        return int(self.embed_dim * 2**stage)

    def stage_grid(self, stage: int) -> tuple[int, int, int]:
        """(n_t, height, width) in tokens of a stage, counted from 0; odd sides round up."""
        side = self.image_size // self.patch_size
        for _ in range(stage):
            side = (side + 1) // 2
        return self.frames // self.tubelet_size, side, side

    def stage_tokens(self, stage: int) -> int:
        """Tokens in the whole grid of a stage, counted from 0."""
        temporal, height, width = self.stage_grid(stage)
        return temporal * height * width

    def stages(self, pruning: Pruning) -> tuple[PruningStage, ...]:
        """Pruning stages; see `sta.pruning.swin_stages` for the errors."""
        grids = [self.stage_grid(stage) for stage in range(1, SWIN_STAGES)]
        return swin_stages(
            pruning,
            temporal_positions=grids[0][0],
            spatial_tokens=[height * width for _, height, width in grids],
        )

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept-token mask of each stage."""
        return tuple((stage.groups, stage.tokens) for stage in self.stages(pruning))

    def token_grids(self, pruning: Pruning) -> tuple[tuple[int, int, int], ...]:
        """(n_t, rows, columns) of the tokens of each stage."""
        return tuple(self.stage_grid(stage.block) for stage in self.stages(pruning))

    def largest_r(self, pruning: Pruning) -> int:
        """The largest r for which `stages` accepts the other settings."""
        grids = [self.stage_grid(stage) for stage in range(1, SWIN_STAGES)]
        return largest_swin_r(pruning, spatial_tokens=[h * w for _, h, w in grids])

    def stage_names(self, pruning: Pruning) -> tuple[str, ...]:
        """Where each stage runs, for people."""
        return tuple(
            f"Swin stage {stage.block + 1} of {SWIN_STAGES}" for stage in self.stages(pruning)
        )

    def token_pixels(self, pruning: Pruning) -> tuple[int, ...]:
        """Height and width in pixels of a token: patches merge 2 x 2 between Swin stages."""
        return tuple(self.patch_size * 2**stage.block for stage in self.stages(pruning))

    def flops_vary(self, pruning: Pruning) -> bool:
        """Whether windows that have lost tokens are computed without them."""
        return pruning.r > 0 and pruning.window_attention == "sparse"
