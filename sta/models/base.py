"""What all models have in common, so that callers need not know which one they hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.pruning import Pruning, Stage

# ImageNet's, by which clips are normalized.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}


class ModelOutput(NamedTuple):
    """What a model returns.

    Attributes:
        logits: (B, classes).
        kept: one bool mask (B, n_t, n_s) per pruning stage, True where the token is kept; empty
            for an unpruned model. n_s is that of the stage: see `ModelConfig.kept_grids`.
    """

    logits: Tensor
    kept: tuple[Tensor, ...]


class ModelConfig(Protocol):
    """Shape of a model: what callers may ask of any of them."""

    @property
    def frames(self) -> int:
        """Input frames T."""

    @property
    def image_size(self) -> int:
        """Input height and width in pixels."""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of one clip."""

    def stages(self, pruning: Pruning) -> tuple[Stage, ...]:
        """Pruning stages, empty at r = 0.

        Raises:
            ValueError: the pruning does not fit this shape.
        """

    def kept_grids(self, pruning: Pruning) -> tuple[tuple[int, int], ...]:
        """(n_t, n_s) of the kept mask of each stage in `stages(pruning)`."""


def check_input_size(*, frames: int, tubelet: int, image_size: int, patch_size: int) -> None:
    """Refuses a clip that tubes of (tubelet, patch, patch) do not fill, with a ValueError."""
    if frames < tubelet or frames % tubelet:
        raise ValueError(f"frames must be a multiple of {tubelet} (the tubelet); got {frames}")
    if image_size < patch_size or image_size % patch_size:
        below = max(image_size // patch_size, 1) * patch_size
        raise ValueError(
            f"image_size must be a multiple of {patch_size} (the patch), such as {below} "
            f"or {below + patch_size}; got {image_size}"
        )


class VideoModel(nn.Module):
    """A video classifier with STA.

    Attributes:
        architecture: name the model was created under.
        config: its shape.
        pruning: its pruning.
        stages: its pruning stages, empty at r = 0.
        kept_grids: (n_t, n_s) of its kept masks, one per stage.
        labels: class names in the order of the logits.
        fingerprint: identity of the weights ("sha256:..." of the file), "" if made from scratch.
        notes: what was chosen or corrected when the weights were loaded, in lines.
        head: the classifier.
    """

    config: ModelConfig
    head: nn.Linear

    def __init__(
        self,
        config: ModelConfig,
        *,
        num_classes: int,
        pruning: Pruning | None,
        architecture: str,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.config = config
        self.pruning = pruning or Pruning()
        self.stages = config.stages(self.pruning)
        self.kept_grids = config.kept_grids(self.pruning)
        self.labels: tuple[str, ...] = tuple(str(index) for index in range(num_classes))
        self.fingerprint = ""
        self.notes: tuple[str, ...] = ()

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips.

        Args:
            clips: (B, 3, T, H, W) float, normalized, of the size in `config`.

        Returns:
            Logits and kept masks.

        Raises:
            ValueError: the clips are of another size.
        """
        raise NotImplementedError

    def check_clips(self, clips: Tensor) -> None:
        """Refuses clips of another size than `config` says, with a ValueError."""
        if tuple(clips.shape[1:]) != self.config.input_shape:
            raise ValueError(
                f"{self.architecture} takes clips of shape (B, 3, T, H, W) = "
                f"(B, {', '.join(map(str, self.config.input_shape))}); got {tuple(clips.shape)}"
            )


def project_tubes(conv: nn.Conv3d, clips: Tensor) -> Tensor:
    """A convolution whose kernel is its stride: clips (B, 3, T, H, W) to (B, T', H', W', width).

    As a matrix product on a GPU, where the libraries' 3D convolutions in bfloat16 are slow to very
    slow by version; as the convolution on a CPU, where the product's copy of the pixels costs more.
    """
    return tubes_as_product(conv, clips) if clips.is_cuda else conv(clips).permute(0, 2, 3, 4, 1)


def tubes_as_product(conv: nn.Conv3d, clips: Tensor) -> Tensor:
    """`project_tubes` as one matrix product, on any device."""
    batch, channels, *sizes = clips.shape
    (t, u), (h, v), (w, s) = (
        (size // tube, tube) for size, tube in zip(sizes, conv.stride, strict=True)
    )
    tubes = clips.view(batch, channels, t, u, h, v, w, s).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return F.linear(tubes.reshape(batch, t, h, w, -1), conv.weight.flatten(1), conv.bias)


class MLP(nn.Module):
    """Two linear layers with an activation between them, one of `ACTIVATIONS`."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


def initialize(module: nn.Module) -> None:
    """Random weights of a model that is made from scratch."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
