"""What the backbones share: the model interface, the patch projection, the MLP, initialization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.configs import Activation, ModelConfig
from sta.models.label_map import LabelMap
from sta.models.layout import ConfigJson, Layout
from sta.pruning import Pruning


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
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
            for an unpruned model. n_s differs between stages: see `ModelConfig.kept_grids`.
        features: (B, d), what the head sees; None where another method reduces the tokens.
    """

    logits: Tensor
    kept: tuple[Tensor, ...]
    features: Tensor | None = None


class VideoModel(nn.Module):
    """A video classifier with STA.

    Attributes:
        architecture: name of the architecture.
        config: shape of the model.
        pruning: the pruning settings.
        stages: the pruning stages, empty at r = 0.
        kept_grids: (n_t, n_s) of the kept-token masks, one per stage.
        labels: class names in the order of the logits.
        fingerprint: "sha256:..." of the weight file, "" for random weights.
        license: of the weights, where the checkpoint or its card states one; else "".
        notes: what was chosen or corrected when the weights were loaded, one line each.
        head: the classifier, without classes that a label map drops.
        label_map: which classes of the checkpoint the labels stand for; None for its own.
        layouts: how this backbone's checkpoints name their parameters.
        config_jsons: which configurations stand beside them.
    """

    layouts: ClassVar[tuple[Layout, ...]] = ()
    config_jsons: ClassVar[tuple[ConfigJson, ...]] = ()

    config: ModelConfig
    head: nn.Linear
    _rows_of_label: Tensor | None

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
        self.label_map: LabelMap | None = None
        self.register_buffer("_rows_of_label", None, persistent=False)
        self.fingerprint = ""
        self.license = ""
        self.notes: tuple[str, ...] = ()

    def forward(self, clips: Tensor) -> ModelOutput:
        """Classifies clips.

        Args:
            clips: (B, 3, T, H, W) float, normalized, of the size in `config`.

        Returns:
            Logits and kept-token masks.

        Raises:
            ValueError: the clips have another size.
        """
        raise NotImplementedError

    @staticmethod
    def processor_short_side(image_size: int) -> int:
        """Short side in pixels to which the processor beside a checkpoint resizes before it crops.

        Args:
            image_size: height and width of the crop.
        """
        return image_size

    @classmethod
    def closed_form_flops(
        cls, config: ModelConfig, pruning: Pruning, *, num_classes: int, norm: int
    ) -> int:
        """FLOPs of one view of a model of this shape.

        Args:
            config: shape of the model.
            pruning: the pruning settings.
            num_classes: size of the head.
            norm: FLOPs per element of a layer norm.
        """
        raise NotImplementedError

    def clip_flops(self, kept: Sequence[Tensor], *, norm: int) -> list[int]:
        """FLOPs of each clip of a batch, from its kept-token masks.

        Args:
            kept: (B, n_t, n_s) per pruning stage; empty for an unpruned model, of which the result
                is that of one clip.
            norm: FLOPs per element of a layer norm.
        """
        flops = self.closed_form_flops(
            self.config, self.pruning, num_classes=self.head.out_features, norm=norm
        )
        return [flops] * (len(kept[0]) if kept else 1)

    def classify(self, features: Tensor) -> Tensor:
        """The logits (B, classes) of what the head sees (B, d).

        A class that stands for several rows of the head has their probabilities' sum.
        """
        logits: Tensor = self.head(features)
        if self._rows_of_label is None:
            return logits
        padded = F.pad(logits, (0, 1), value=-torch.inf)
        return padded[:, self._rows_of_label].logsumexp(dim=-1)

    def follow(self, label_map: LabelMap) -> None:
        """Names the classes by a label map, to whose rows the head was reduced."""
        self.label_map, self.labels = label_map, label_map.labels
        if not label_map.is_one_to_one:
            rows, padding = label_map.rows_of_label, self.head.out_features
            most = max(map(len, rows))
            self._rows_of_label = torch.tensor(
                [each + [padding] * (most - len(each)) for each in rows]
            )

    def check_clips(self, clips: Tensor) -> None:
        """Raise ValueError if clips do not have the size in `config`."""
        if tuple(clips.shape[1:]) != self.config.input_shape:
            raise ValueError(
                f"{self.architecture} takes clips of shape (B, 3, T, H, W) = "
                f"(B, {', '.join(map(str, self.config.input_shape))}); got {tuple(clips.shape)}"
            )


def embed_tubelets(conv: nn.Conv3d, clips: Tensor) -> Tensor:
    """Patch embedding of clips (B, 3, T, H, W): tokens (B, n_t, h, w, d). Kernel equals stride.

    On a GPU this is one matrix product, since cuDNN's 3D convolutions in bfloat16 are slow, and in
    some versions very slow. On a CPU it is the convolution, since the product copies the pixels.
    """
    return tubelets_as_product(conv, clips) if clips.is_cuda else conv(clips).permute(0, 2, 3, 4, 1)


def tubelets_as_product(conv: nn.Conv3d, clips: Tensor) -> Tensor:
    """`embed_tubelets` as one matrix product, on any device."""
    batch, channels, *sizes = clips.shape
    (t, u), (h, v), (w, s) = (
        (size // length, length) for size, length in zip(sizes, conv.stride, strict=True)
    )
    tubelets = clips.view(batch, channels, t, u, h, v, w, s).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return F.linear(tubelets.reshape(batch, t, h, w, -1), conv.weight.flatten(1), conv.bias)


class MLP(nn.Module):
    """Two linear layers with an activation between them, one of `ACTIVATIONS`."""

    def __init__(self, dim: int, hidden_dim: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


def shapes_alone() -> bool:
    """Whether a model is made on the meta device, for the shapes of its parameters.

    A model that computes tables when it is made does not do so there: tables that follow from
    values cannot be, and torch loads libraries for a second to compute the others.
    """
    return torch.get_default_device().type == "meta"


def initialize(module: nn.Module) -> None:
    """Draw the random weights of a new model."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
