"""The model of a labeler and how it runs, and the size of its batches where none is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import sta
from sta.heads import LinearHead
from sta.models.label_map import LabelMap
from workers.device_names import DeviceKind
from workers.inference.reduction import TokenReduction
from workers.precisions import PRECISIONS, Precision
from workers.sampling import Protocol

# A larger batch is no faster: this one occupies a GPU, and fits a CPU's caches.
_FULL_BATCH: dict[DeviceKind, int] = {"cuda": 32, "cpu": 8}

# Pixels of a clip up to which that batch is taken: 32 frames of 224 x 224. Tokens of larger clips
# would fill the memory: a model of 64 frames of 384 pixels has 12 times as many as VideoMAE.
_FULL_BATCH_PIXELS = 32 * 224**2


@dataclass(frozen=True)
class LabelerConfig:
    """The model of a labeler and how it runs.

    Attributes:
        checkpoint: source for `sta.load_model`.
        pruning: how tokens are pruned.
        labels: file with class names, None for the checkpoint's own.
        label_map: the labels that the checkpoint's classes stand for; None for its own.
        batch_size: views per forward pass, None for the device's default.
        threads: CPU threads of torch, None for its default.
        fingerprint: the fingerprint that the loaded weights must have, None for any.
        shape: the shape that the loaded model must have, None for any. Files beside the weights
            say it, which the fingerprint does not cover.
        compile: whether the forward pass is compiled and, on a GPU, captured in a CUDA graph. None
            compiles on a GPU where shapes are static: always, except for VideoSwin's sparse window
            attention.
        device: the kind of device to compute on, see `devices.device_for`.
        precision: what the model computes in, see `precisions`.
        reduction: another method that reduces the model's tokens; None for STA.
        head: classifies instead of the model's own head; None for that.
        embeddings: whether views keep what the head sees.
    """

    checkpoint: str
    pruning: sta.Pruning = field(default_factory=sta.Pruning)
    labels: Path | None = None
    label_map: LabelMap | None = None
    batch_size: int | None = None
    threads: int | None = None
    fingerprint: str | None = None
    shape: sta.ModelConfig | None = None
    compile: bool | None = None
    device: DeviceKind | None = None
    precision: Precision = "float32"
    reduction: TokenReduction | None = None
    head: LinearHead | None = None
    embeddings: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}")
        if self.compile not in (True, False, None):
            raise ValueError(f"compile must be True, False or None; got {self.compile!r}")
        if self.precision not in PRECISIONS:
            allowed = " or ".join(PRECISIONS)
            raise ValueError(f"precision must be {allowed}; got {self.precision!r}")
        if self.has_features and self.reduction is not None:
            raise ValueError(f"{self.reduction} gives no features for a head or for embeddings")

    @property
    def has_features(self) -> bool:
        """Whether what the head sees is read from the device."""
        return self.embeddings or self.head is not None


def default_batch(kind: DeviceKind, protocol: Protocol) -> int:
    """Views per forward pass where none are asked for."""
    pixels = max(_FULL_BATCH_PIXELS, protocol.frames * protocol.size**2)
    return max(1, _FULL_BATCH[kind] * _FULL_BATCH_PIXELS // pixels)
