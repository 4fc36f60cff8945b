"""The architectures by name and the shape of each; needs no torch.

A shape (`ViTConfig`, `SwinConfig`) says how large a model is and which token grids it has.
`sta.models.create` builds the models.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from sta.pruning import Pruning, PruningStage, swin_stages, vit_stages

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]

VIT_NORM_EPS = 1e-6
SWIN_STAGES = 4


class ModelConfig(Protocol):
    """The part of a shape that all backbones share."""

    @property
    def frames(self) -> int:
        """Input frames T."""

    @property
    def image_size(self) -> int:
        """Input height and width in pixels."""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""

    def stages(self, pruning: Pruning) -> tuple[PruningStage, ...]:
        """Pruning stages, empty at r = 0.

        Raises:
            ValueError: the pruning does not fit this shape.
        """

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept-token mask of each stage in `stages(pruning)`."""


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


@dataclass(frozen=True)
class ViTConfig:
    """Shape of a VideoMAE ViT (VideoMAE, appendix: `embed_dim`, `depth`, `num_heads` per size).

    Attributes:
        embed_dim: channels d of a token.
        depth: number of blocks L.
        num_heads: attention heads.
        frames: input frames T.
        image_size: input height and width in pixels.
        patch_size: patch height and width in pixels.
        tubelet_size: frames per token.
        mlp_ratio: hidden channels of the MLP divided by `embed_dim`.
        activation: activation of the MLP.
        norm_eps: epsilon of the blocks' layer norms. The last norm always has VideoMAE's 1e-6.
        key_bias: whether keys have a bias. Softmax cancels it, but STA compares keys.
    """

    embed_dim: int
    depth: int
    num_heads: int
    frames: int = 16
    image_size: int = 224
    patch_size: int = 16
    tubelet_size: int = 2
    mlp_ratio: int = 4
    activation: Activation = "gelu"
    norm_eps: float = VIT_NORM_EPS
    key_bias: bool = False

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
            )
        if self.activation not in get_args(Activation):
            raise ValueError(
                f"activation must be one of {', '.join(get_args(Activation))}; "
                f"got {self.activation!r}"
            )
        _check_input_size(
            frames=self.frames,
            tubelet_size=self.tubelet_size,
            image_size=self.image_size,
            patch_size=self.patch_size,
        )

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

    def __post_init__(self) -> None:
        for stage, heads in enumerate(self.num_heads):
            if self.stage_dim(stage) % heads:
                raise ValueError(
                    f"{self.stage_dim(stage)} channels of stage {stage + 1} are not a multiple of "
                    f"its num_heads, {heads}"
                )
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


ARCHITECTURES: dict[str, ViTConfig | SwinConfig] = {
    "vit_small": ViTConfig(embed_dim=384, depth=12, num_heads=6),
    "vit_base": ViTConfig(embed_dim=768, depth=12, num_heads=12),
    "vit_large": ViTConfig(embed_dim=1024, depth=24, num_heads=16),
    "vit_huge": ViTConfig(embed_dim=1280, depth=32, num_heads=16),
    "vit_demo": ViTConfig(embed_dim=192, depth=6, num_heads=6, image_size=112),
    "videoswin_tiny": SwinConfig(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "videoswin_small": SwinConfig(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    "videoswin_base": SwinConfig(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    "videoswin_base_ssv2": SwinConfig(
        embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(16, 7, 7)
    ),
}

# The paper's settings: r = 64 halves a ViT's FLOPs (Table 2), r = 256 saves 31 to 38 % of a
# VideoSwin's (Table 3).
_DEFAULT_R_VIT = 64
_DEFAULT_R_SWIN = 256
_DEFAULT_R_DEMO = 22


def check_architecture(name: str) -> None:
    """Raise ValueError, with the list of architectures, if none has this name."""
    if name not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {name!r}; available are {', '.join(sorted(ARCHITECTURES))}"
        )


def architecture_config(
    architecture: str | ModelConfig, *, frames: int | None = None, image_size: int | None = None
) -> ViTConfig | SwinConfig:
    """Shape of an architecture, optionally for another clip length or frame size.

    Args:
        architecture: its name, or the shape of a model (`model.config`).
        frames: frames per clip, if not the architecture's own number.
        image_size: height and width in pixels, if not the architecture's own.

    Raises:
        ValueError: unknown architecture, or a size that it cannot take.
    """
    if isinstance(architecture, str):
        check_architecture(architecture)
        config = ARCHITECTURES[architecture]
    else:
        assert isinstance(architecture, ViTConfig | SwinConfig)
        config = architecture
    return dataclasses.replace(
        config,
        frames=config.frames if frames is None else frames,
        image_size=config.image_size if image_size is None else image_size,
    )


def default_pruning(name: str) -> Pruning:
    """The pruning of an architecture where none is given, at its own input size."""
    if name == "vit_demo":
        return Pruning(r=_DEFAULT_R_DEMO)
    swin = isinstance(architecture_config(name), SwinConfig)
    return Pruning(r=_DEFAULT_R_SWIN if swin else _DEFAULT_R_VIT)


def flops_vary_by_clip(architecture: str, pruning: Pruning) -> bool:
    """Whether two clips can need different FLOPs: with VideoSwin's sparse window attention."""
    has_windows = isinstance(architecture_config(architecture), SwinConfig)
    return has_windows and pruning.r > 0 and pruning.window_attention == "sparse"
