"""Training examples of the demo model: clips of decoded videos and label-preserving symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inputs.demo.scenes import DIRECTIONS, MOTIONS

FRAMES = 16
"""Frames of a clip; the cache holds every fourth frame of a video, a clip is a run of them."""

SIZE = 112
"""Side of the model's square input in pixels."""

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Example:
    """One training video, decoded and reduced.

    Attributes:
        frames: (m, H, W, 3) uint8 RGB, every fourth frame, short side ``SIZE``, m >= ``FRAMES``.
        label_id: index into ``LABELS``.
    """

    frames: NDArray[np.uint8]
    label_id: int


@dataclass(frozen=True)
class Augmentation:
    """A symmetry of square clips; each one turns a label into another label.

    They apply in the order of the fields.
    """

    mirror: bool = False
    upside_down: bool = False
    transpose: bool = False
    backwards: bool = False

    def clip(self, clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The transformed clip (T, S, S, 3), as a view."""
        if self.mirror:
            clip = clip[:, :, ::-1]
        if self.upside_down:
            clip = clip[:, ::-1]
        if self.transpose:
            clip = clip.swapaxes(1, 2)
        return clip[::-1] if self.backwards else clip

    def label_id(self, label_id: int) -> int:
        """The label that the transformed clip has."""
        kind, motion = divmod(label_id, len(MOTIONS))
        x, y = DIRECTIONS[MOTIONS[motion]]
        x, y = (-x if self.mirror else x), (-y if self.upside_down else y)
        x, y = (y, x) if self.transpose else (x, y)
        x, y = (-x, -y) if self.backwards else (x, y)
        names = {direction: name for name, direction in DIRECTIONS.items()}
        return kind * len(MOTIONS) + MOTIONS.index(names[x, y])


@dataclass(frozen=True)
class Batch:
    """Clips as they were cut, with what is still to be done to their colors.

    Attributes:
        clips: (B, T, S, S, 3) uint8 RGB.
        gain: (B, 3) float32; a pixel p in 0..1 is to become gain * p + shift.
        shift: (B, 3) float32.
        labels: (B,) int64 label ids.
    """

    clips: Tensor
    gain: Tensor
    shift: Tensor
    labels: Tensor

    def normalized(self, pixels: Tensor) -> Tensor:
        """Pixels (B, ..., 3) uint8 of these clips as the model wants them, float32."""
        mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
        shape = (len(pixels), *(1 for _ in pixels.shape[2:]), 3)
        factor = (self.gain / (255 * std)).view(shape)
        return torch.addcmul(((self.shift - mean) / std).view(shape), pixels.float(), factor)


def plain_batch(clips: NDArray[np.uint8], label_id: int) -> Batch:
    """Clips (B, T, S, S, 3) of one label in their own colors."""
    count = len(clips)
    labels = torch.full((count,), label_id)
    return Batch(torch.from_numpy(clips), torch.ones(count, 3), torch.zeros(count, 3), labels)


def draw_batch(examples: Sequence[Example], rng: np.random.Generator, size: int) -> Batch:
    """Random clips under random crops, symmetries and colors; kinds as frequent as given."""
    clips = np.empty((size, FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.empty(size, dtype=np.int64)
    for row in range(size):
        example = examples[int(rng.integers(len(examples)))]
        symmetry = Augmentation(*(bool(flag) for flag in rng.integers(0, 2, 4)))
        count, height, width, _ = example.frames.shape
        start = int(rng.integers(count - FRAMES + 1))
        top, left = int(rng.integers(height - SIZE + 1)), int(rng.integers(width - SIZE + 1))
        # Whole pixels as items: reversed and swapped axes copy three times as fast.
        pixels = example.frames.view("V3")[..., 0]
        clip = pixels[start : start + FRAMES, top : top + SIZE, left : left + SIZE]
        clips[row].view("V3")[..., 0] = symmetry.clip(clip)
        labels[row] = symmetry.label_id(example.label_id)
    gain = rng.uniform(0.75, 1.25, (size, 1)) * rng.uniform(0.92, 1.08, (size, 3))
    shift = np.tile(rng.uniform(-0.1, 0.1, (size, 1)), 3)
    return Batch(
        torch.from_numpy(clips),
        torch.from_numpy(gain).float(),
        torch.from_numpy(shift).float(),
        torch.from_numpy(labels),
    )
