"""Training the demo model on the demo archive, within a budget of wall-clock time.

STA prunes the model afterwards and is no part of the training. Its first parts see only some of
each clip's tokens, to be quick; the last part sees them all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import sta
from pipeline.inputs.demo.scenes import LABELS
from pipeline.lab.demo.examples import FRAMES, Batch, Example, draw_batch


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
        course: (end, tokens) of the opening parts, ends as shares of the budget: while one lasts
            a clip is learnt from that many tokens, see ``busy_logits``. Afterwards from all.
        seed: of the initial weights and of every draw.
    """

    seconds: float
    batch: int = 32
    peak: float = 1e-3
    warm_up: float = 0.04
    weight_decay: float = 0.05
    smoothing: float = 0.05
    average: float = 0.995
    course: tuple[tuple[float, int], ...] = ((0.55, 36), (0.7, 128))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.batch < 1 or self.peak <= 0:
            raise ValueError("seconds, batch and peak must be above 0")
        for name in ("warm_up", "smoothing", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    def tokens_at(self, progress: float) -> int | None:
        """Tokens per clip at a point of the budget in 0..1; None for all of them."""
        return next((tokens for end, tokens in self.course if progress < end), None)


def all_logits(model: sta.VisionTransformer, batch: Batch) -> Tensor:
    """Logits (B, classes) of the model as it is."""
    pixels = batch.normalized(batch.clips)
    logits: Tensor = model(pixels.permute(0, 4, 1, 2, 3)).logits
    return logits


def busy_logits(model: sta.VisionTransformer, batch: Batch, tokens: int) -> Tensor:
    """Logits (B, classes) from the tokens in which most changes, and some at random.

    Two thirds of the ``tokens`` are those with the largest |difference| between the two frames
    of their tube; the rest is drawn evenly, so that resting ground is learnt as well.
    """
    config = model.config
    tube, patch, side = config.tubelet_size, config.patch_size, config.grid_size[0]
    tubes = batch.clips.view(len(batch.clips), -1, tube, side, patch, side, patch, 3)
    sparse = tubes[:, :, :, :, ::2, :, ::2].short()
    change = (sparse[:, :, 1] - sparse[:, :, 0]).abs().float().sum((3, 5, 6)).flatten(1)
    busy = change.topk(2 * tokens // 3).indices
    luck = torch.rand_like(change).scatter(1, busy, -1.0)
    places = torch.cat([busy, luck.topk(tokens - busy.shape[1]).indices], 1)
    row = torch.arange(len(places))[:, None]
    slot, cell = places // (side * side), places % (side * side)
    chosen = batch.normalized(tubes[row, slot, :, cell // side, :, cell % side])
    proj = model.patch_embed.proj
    x = F.linear(chosen.permute(0, 1, 5, 2, 3, 4).flatten(2), proj.weight.flatten(1), proj.bias)
    x = x + model.get_buffer("pos_embed")[places]
    for block in model.blocks:
        x, _ = block(x)
    logits: Tensor = model.head(model.fc_norm(x.mean(dim=1)))
    return logits


def continued_model(weights: Path) -> sta.VisionTransformer:
    """The unpruned model of a weight file, to be trained further.

    Raises:
        ValueError: the file is no ViT's.
    """
    model = sta.load_model(weights)
    if not isinstance(model, sta.VisionTransformer):
        raise ValueError(f"{weights} is a {model.architecture}; the demo model is a ViT")
    return model


def new_model(seed: int) -> sta.VisionTransformer:
    """An unpruned ``vit_demo`` prepared for training from scratch.

    Half of the filters of the tubelet embedding start as differences between the two frames, so
    that a resting background is silent in them and a moving object stands out from the first
    step. The classifier starts at zero.
    """
    torch.manual_seed(seed)
    model = sta.create_model("vit_demo", num_classes=len(LABELS), pruning=None)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                for part in module.weight.chunk(3 if name.endswith("qkv") else 1):
                    torch.nn.init.xavier_uniform_(part)
        weight = model.patch_embed.proj.weight
        fan_in = weight[0].numel()
        weight.normal_(0, fan_in**-0.5)
        half = weight.shape[0] // 2
        weight[:half, :, 0] = -weight[:half, :, 1]
        weight[:half] *= 2
        torch.nn.init.zeros_(model.head.weight)
    return model


def learning_rate(settings: Settings, progress: float) -> float:
    """Linear rise, then half a cosine to 1 % of the peak; ``progress`` in 0..1 of the budget."""
    if progress < settings.warm_up:
        return settings.peak * max(0.02, progress / settings.warm_up)
    done = min(1.0, (progress - settings.warm_up) / (1 - settings.warm_up))
    return settings.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class Trainer:
    """A model, its optimizer and the running mean of its weights.

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

    def step(self, batch: Batch, *, rate: float, tokens: int | None = None) -> tuple[float, float]:
        """One step; returns the loss and the share of the batch that was right before it.

        ``tokens`` is None for the whole model, or the number of tokens ``busy_logits`` takes.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if tokens is None:
                logits = all_logits(self.model, batch)
            else:
                logits = busy_logits(self.model, batch, tokens)
        logits = logits.float()
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.settings.smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        return loss.item(), float((logits.argmax(1) == batch.labels).float().mean())

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
        progress = passed / settings.seconds
        batch = draw_batch(examples, rng, settings.batch)
        rate = learning_rate(settings, progress)
        recent.append(trainer.step(batch, rate=rate, tokens=settings.tokens_at(progress)))
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
