"""Training the demo model on the demo archive, within a budget of wall-clock time.

The model is trained dense: STA prunes it afterwards, without training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import sta
from pipeline.demo.scenes import KINDS, LABELS, MOTIONS

FRAMES = 16
"""Frames of a clip; the cache holds every fourth frame of a video, a clip is a run of them."""

SIZE = 112
"""Side of the model's square input in pixels."""

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

_DIRECTIONS = {
    "slides left": (-1, 0),
    "slides right": (1, 0),
    "rises": (0, -1),
    "falls": (0, 1),
    "circles": (0, 0),
}


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
class Settings:
    """How to train.

    Attributes:
        seconds: wall-clock budget; the learning rate follows it, and training ends with it.
        batch: clips per step.
        peak: largest learning rate.
        warm_up: share of the budget in which the learning rate rises.
        weight_decay: of AdamW, on matrices only.
        smoothing: label smoothing.
        average: decay per step of the running mean of the weights, which is what is kept.
        seed: of the initial weights and of every draw.
    """

    seconds: float
    batch: int = 32
    peak: float = 1e-3
    warm_up: float = 0.04
    weight_decay: float = 0.05
    smoothing: float = 0.05
    average: float = 0.995
    first: float = 0.4
    tokens: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.batch < 1 or self.peak <= 0:
            raise ValueError("seconds, batch and peak must be above 0")
        for name in ("warm_up", "smoothing", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")


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
            clip = clip.transpose(0, 2, 1, 3)
        return clip[::-1] if self.backwards else clip

    def label_id(self, label_id: int) -> int:
        """The label that the transformed clip has."""
        kind, motion = divmod(label_id, len(MOTIONS))
        x, y = _DIRECTIONS[MOTIONS[motion]]
        x, y = (-x if self.mirror else x), (-y if self.upside_down else y)
        x, y = (y, x) if self.transpose else (x, y)
        x, y = (-x, -y) if self.backwards else (x, y)
        names = {direction: name for name, direction in _DIRECTIONS.items()}
        return kind * len(MOTIONS) + MOTIONS.index(names[x, y])


def normalise(clips: Tensor, *, gain: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """(B, T, S, S, 3) uint8 to the model's (B, 3, T, S, S) float32.

    ``gain`` and ``shift``, both (B, 3), change colours: the pixel p in 0..1 becomes
    gain * p + shift before the normalisation.
    """
    mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
    gain = torch.ones(1, 3) if gain is None else gain
    shift = torch.zeros(1, 3) if shift is None else shift
    factor = (gain / (255 * std))[:, :, None, None, None]
    offset = ((shift - mean) / std)[:, :, None, None, None]
    return torch.addcmul(offset, clips.permute(0, 4, 1, 2, 3).float(), factor)


def draw_batch(
    examples: Sequence[Example], rng: np.random.Generator, size: int
) -> tuple[Tensor, Tensor]:
    """Random clips under random crops, symmetries and colours.

    Returns:
        (size, 3, T, S, S) float32 normalised clips and (size,) int64 label ids. The videos are
        drawn so that kinds are as frequent as they are in ``examples``.
    """
    clips = np.empty((size, FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.empty(size, dtype=np.int64)
    for row in range(size):
        example = examples[int(rng.integers(len(examples)))]
        symmetry = Augmentation(*(bool(flag) for flag in rng.integers(0, 2, 4)))
        count, height, width, _ = example.frames.shape
        start = int(rng.integers(count - FRAMES + 1))
        top, left = int(rng.integers(height - SIZE + 1)), int(rng.integers(width - SIZE + 1))
        clip = example.frames[start : start + FRAMES, top : top + SIZE, left : left + SIZE]
        clips[row] = symmetry.clip(clip)
        labels[row] = symmetry.label_id(example.label_id)
    gain = rng.uniform(0.75, 1.25, (size, 1)) * rng.uniform(0.92, 1.08, (size, 3))
    shift = rng.uniform(-0.1, 0.1, (size, 1)) + np.zeros((size, 3))
    normalised = normalise(
        torch.from_numpy(clips),
        gain=torch.from_numpy(gain).float(),
        shift=torch.from_numpy(shift).float(),
    )
    return normalised, torch.from_numpy(labels)


def new_model(seed: int) -> sta.VisionTransformer:
    """An unpruned ``vit_demo`` prepared for training from scratch.

    Half of the filters of the tubelet embedding start as differences between the two frames, so
    that a resting background is silent in them and a moving object stands out from the first
    step. The classifier starts at zero.
    """
    torch.manual_seed(seed)
    model = sta.create_model("vit_demo", num_classes=len(LABELS), pruning=None)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                for part in module.weight.split(min(module.weight.shape), 0):
                    torch.nn.init.xavier_uniform_(part)
        weight = model.patch_embed.proj.weight
        fan_in = weight[0].numel()
        weight.normal_(0, fan_in**-0.5)
        half = weight.shape[0] // 2
        weight[:half, :, 0] = -weight[:half, :, 1]
        weight[:half] *= 2
        model.patch_embed.proj.bias.zero_()
        model.head.weight.zero_()
        model.head.bias.zero_()
    return model


def learning_rate(settings: Settings, progress: float) -> float:
    """Linear rise, then half a cosine to 1 % of the peak; ``progress`` in 0..1 of the budget."""
    if progress < settings.warm_up:
        return settings.peak * max(0.02, progress / settings.warm_up)
    done = min(1.0, (progress - settings.warm_up) / (1 - settings.warm_up))
    return settings.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def busiest(model: sta.VisionTransformer, clips: Tensor, tokens: int) -> Tensor:
    """Logits (B, classes) from the tokens in which most changes, and some at random.

    Two thirds of the ``tokens`` are those with the largest mean |difference| between the two
    frames of their tube; the rest is drawn evenly, so that resting ground is seen as well.
    """
    config = model.config
    batch, side, patch, tube = len(clips), config.side, config.patch_size, config.tubelet
    tubes = clips.view(batch, 3, -1, tube, side, patch, side, patch)
    change = (tubes[:, :, :, 1] - tubes[:, :, :, 0]).abs().mean((1, 4, 6)).flatten(1)
    tubes = tubes.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, config.grid[0] * config.grid[1], -1)
    moving = change.topk(2 * tokens // 3).indices
    luck = torch.rand_like(change).scatter(1, moving, -1.0)
    places = torch.cat([moving, luck.topk(tokens - moving.shape[1]).indices], 1)
    chosen = tubes.gather(1, places[..., None].expand(-1, -1, tubes.shape[2]))
    proj = model.patch_embed.proj
    x = F.linear(chosen, proj.weight.flatten(1), proj.bias) + model.pos_embed[places]
    for block in model.blocks:
        x, _ = block(x)
    logits: Tensor = model.head(model.fc_norm(x.mean(dim=1)))
    return logits


class Trainer:
    """A model, its optimiser and the running mean of its weights.

    Matrix products run in bfloat16 on the CPU's own units; the weights stay in float32.
    """

    def __init__(self, model: sta.VisionTransformer, settings: Settings) -> None:
        self.model = model.train()
        self.settings = settings
        self.steps = 0
        self.mean = {name: value.clone() for name, value in model.state_dict().items()}
        matrices = [p for p in model.parameters() if p.ndim > 1]
        vectors = [p for p in model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=settings.peak,
            betas=(0.9, 0.98),
            fused=True,
        )

    def step(self, clips: Tensor, labels: Tensor, rate: float, tokens: int | None = None) -> tuple[float, float]:
        """One step; returns the loss and the share of the batch that was right before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self._logits(clips, tokens)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.settings.smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        return loss.item(), float((logits.argmax(1) == labels).float().mean())

    def _logits(self, clips: Tensor, tokens: int | None) -> Tensor:
        return self.model(clips).logits if tokens is None else busiest(self.model, clips, tokens)

    @torch.no_grad()
    def _average(self) -> None:
        self.steps += 1
        decay = min(self.settings.average, self.steps / (self.steps + 10))
        for name, value in self.model.state_dict().items():
            self.mean[name].lerp_(value, 1 - decay)


def train(
    model: sta.VisionTransformer,
    examples: Sequence[Example],
    settings: Settings,
    *,
    report: Callable[[int, float, float, float], None],
    keep: Callable[[sta.VisionTransformer], None],
    every: float = 240.0,
) -> sta.VisionTransformer:
    """Train until the budget is spent and return the model with the averaged weights.

    Args:
        model: prepared by ``new_model``.
        examples: the training videos.
        settings: how to train.
        report: called about every 20 steps with the number of steps, the seconds passed, and the
            mean loss and share of right answers since the last call.
        keep: called about every ``every`` seconds with a model that holds the averaged weights,
            so that an interrupted training is not lost.
        every: see ``keep``; in seconds.

    Raises:
        ValueError: no examples, or one that is shorter than a clip.
    """
    if not examples:
        raise ValueError("there are no videos to train on")
    if any(len(example.frames) < FRAMES for example in examples):
        raise ValueError(f"every training video needs {FRAMES} frames at every fourth frame")
    trainer = Trainer(model, settings)
    averaged = sta.create_model("vit_demo", num_classes=len(LABELS), pruning=None)
    rng = np.random.default_rng([settings.seed, 1])
    begin = kept = time.monotonic()
    recent: list[tuple[float, float]] = []
    while (passed := time.monotonic() - begin) < settings.seconds:
        clips, labels = draw_batch(examples, rng, settings.batch)
        rate = learning_rate(settings, passed / settings.seconds)
        tokens = settings.tokens if passed < settings.first * settings.seconds else None
        recent.append(trainer.step(clips, labels, rate, tokens))
        if len(recent) == 20:
            loss, right = np.mean(recent, axis=0)
            report(trainer.steps, passed, float(loss), float(right))
            recent = []
        if time.monotonic() - kept > every:
            kept = time.monotonic()
            averaged.load_state_dict(trainer.mean)
            keep(averaged)
    averaged.load_state_dict(trainer.mean)
    return averaged


def kind_of(label_id: int) -> str:
    """The kind that a label speaks of."""
    return KINDS[label_id // len(MOTIONS)]
