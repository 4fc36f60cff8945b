"""Trajectory sum and GradNorm: the paper's measures of what pruning removes (Table 1, Figure 3).

Both compare STA with the unpruned model and with random pruning, on one view of each video: the
middle clip under the middle crop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import sta
from pipeline.errors import UsageError
from pipeline.formatting import counted
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import sampled, unit_id
from pipeline.messages import say
from pipeline.statistics import Estimate, mean
from sta.checkpoints.remote import without_secrets
from sta.diagnostics import final_tokens, grad_norm, trajectory_sum
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.failures import UnitFailure
from workers.inference.pixels import normalized
from workers.sampling import protocol

Floats = npt.NDArray[np.float64]
Clip = npt.NDArray[np.uint8]

# Table 1: trajectory sums on the validation set of Kinetics-400, for ViT-S, ViT-B, ViT-L and ViT-H.
TABLE_1 = {
    "unpruned": (5.10, 5.38, 5.07, 5.55),
    "random": (5.00, 5.32, 4.95, 5.46),
    "STA": (4.43, 4.74, 4.28, 4.78),
}

_REPORT_EVERY = 10


@dataclass(frozen=True)
class MeasureOptions:
    """What to measure on.

    Attributes:
        source: directory, s3:// prefix, video or manifest.
        checkpoint: source for `sta.load_model`.
        architecture: what the checkpoint must be, None for whatever it is.
        labels: file with class names.
        label_map: file that maps the checkpoint's classes to other labels.
        r: tokens dropped per frame at the first stage; None for the model's default.
        videos: so many videos of the source, chosen by a hash.
    """

    source: str
    checkpoint: str
    architecture: str | None = None
    labels: Path | None = None
    label_map: Path | None = None
    r: int | None = None
    videos: int = 48

    def __post_init__(self) -> None:
        if self.videos < 1:
            raise UsageError(f"--videos must be 1 or more; got {self.videos}")
        if self.r is not None and self.r < 1:
            raise UsageError(f"--r must be 1 or more: r = 0 prunes nothing; got {self.r}")


@dataclass(frozen=True)
class Models:
    """One ViT unpruned, pruned at random and pruned by STA, with the same r."""

    unpruned: sta.VisionTransformer
    random: sta.VisionTransformer
    sta: sta.VisionTransformer

    @classmethod
    def load(cls, options: MeasureOptions) -> Models:
        """Loads them, onto a GPU where there is one.

        Raises:
            UsageError: the checkpoint is no ViT, or r is too large for it.
            sta.CheckpointError, sta.UnsafePickle, OSError: it cannot be loaded.
        """
        unpruned = _load(options, sta.Pruning())
        r = options.r or sta.default_pruning(unpruned.config).r
        by_sta = _load(options, sta.Pruning(r=r))
        return cls(unpruned, _load(options, sta.Pruning(r=r, score="random")), by_sta)


@dataclass(frozen=True)
class ClipSample:
    """One view of each of n videos.

    Attributes:
        clips: n of uint8 (T, H, W, 3).
        ground_truths: n labels that the source gives, None where it gives none.
        failed: videos that could not be decoded.
    """

    clips: tuple[Clip, ...]
    ground_truths: tuple[str | None, ...]
    failed: int


@dataclass(frozen=True)
class GradNorms:
    """How much of the unpruned model's GradNorm lies on the tokens that pruning keeps.

    Attributes:
        kept: share of the tokens that is kept, per stage.
        random: (n, stages) share of GradNorm on the tokens that random pruning keeps.
        sta: (n, stages) share of GradNorm on the tokens that STA keeps.
        ground_truths: videos whose loss is that of their ground truth; the others' is that of the
            label that the unpruned model gives.
    """

    kept: tuple[float, ...]
    random: Floats
    sta: Floats
    ground_truths: int


def read_sample(options: MeasureOptions, model: sta.VisionTransformer) -> ClipSample:
    """Decodes one view of each video, as a labeling run does.

    Raises:
        UsageError: there is no video, or none can be decoded.
    """
    plan = protocol("videomae-k400", size=model.config.image_size, frames=model.config.frames)
    clip, (_, crop) = plan.clips // 2, plan.views_in_order[0]
    clips, ground_truths, failures = [], [], []
    with SandboxedDecoder(plan) as decoder:
        for video in sampled(Listing(options.source).videos(), options.videos):
            unit = Unit(
                unit_id(video.video_id),
                video.video_id,
                video.uri,
                etag=video.etag,
                part=video.part,
            )
            decoded = decoder.decode(unit)
            if isinstance(decoded, UnitFailure):
                failures.append(f"{video.uri}: {decoded.message}")
                continue
            origin = plan.crop_origins(*decoded.frames.shape[1:3])[crop]
            clips.append(_view(decoded, clip, origin, plan.size))
            ground_truths.append(video.ground_truth)
    if not clips:
        found = f"none can be decoded; {failures[0]}" if failures else "it holds none"
        raise UsageError(f"no video to measure in {options.source}: {found}")
    return ClipSample(tuple(clips), tuple(ground_truths), len(failures))


def trajectory_sums(models: Models, sample: ClipSample) -> Floats:
    """(m, 3) trajectory sums (equation 6) without pruning, with random pruning and with STA.

    Videos of which pruning empties a whole frame have none and are left out, so m is at most n.
    """
    rows = []
    for clip in _in_turn(sample.clips):
        tokens = [
            final_tokens(model, _batch(clip, model))
            for model in (models.unpruned, models.random, models.sta)
        ]
        if all(bool(kept.any(dim=-1).all()) for _, kept in tokens):
            rows.append([float(trajectory_sum(x, kept)) for x, kept in tokens])
    return np.array(rows, np.float64).reshape(-1, 3)


def grad_norms(models: Models, sample: ClipSample) -> GradNorms:
    """GradNorm of the unpruned model (equation 7), and the share of it that each pruning keeps."""
    numbers = {label: number for number, label in enumerate(models.unpruned.labels)}
    shares = []
    for clip, ground_truth in zip(_in_turn(sample.clips), sample.ground_truths, strict=True):
        batch = _batch(clip, models.unpruned)
        with torch.no_grad():
            own = models.unpruned(batch).logits.argmax(dim=1)
            kept = [model(batch).kept for model in (models.random, models.sta)]
        label = torch.full_like(own, numbers[ground_truth]) if ground_truth in numbers else own
        norms = grad_norm(models.unpruned, batch, label)
        shares.append(
            [[float((norms * mask).sum() / norms.sum()) for mask in masks] for masks in kept]
        )
    temporal, spatial = models.sta.config.grid
    random, by_sta = np.array(shares, np.float64).transpose(1, 0, 2)
    return GradNorms(
        kept=tuple(each.groups * each.kept / (temporal * spatial) for each in models.sta.stages),
        random=random,
        sta=by_sta,
        ground_truths=sum(ground_truth in numbers for ground_truth in sample.ground_truths),
    )


def trajectory_table(options: MeasureOptions) -> str:
    """Table 1 on the user's model and videos, as text.

    Raises:
        UsageError, ValueError, OSError: as `Models.load` and `read_sample` do, or no video has a
            trajectory sum.
    """
    models = Models.load(options)
    sample = read_sample(options, models.unpruned)
    sums = trajectory_sums(models, sample)
    if not len(sums):
        raise UsageError(
            f"with --r {models.sta.pruning.r} each video loses all tokens of a frame, and then has "
            f"no trajectory sum; choose a smaller r"
        )
    lines = [
        "Trajectory sum (equation 6, Table 1): how much of the last frame stands in earlier frames",
        _measured_on(options, models, sample, len(sums)),
        f"A still picture has {models.unpruned.config.grid[0] - 1}. In brackets: 95 % intervals.",
        "",
        f"{'':<22}{'here':<24}paper, Kinetics-400: ViT-S, ViT-B, ViT-L, ViT-H",
    ]
    for (name, paper), column in zip(TABLE_1.items(), sums.T, strict=True):
        cells = "  ".join(f"{each:.2f}" for each in paper)
        lines.append(f"{name:<22}{_plain(mean(column)):<24}{cells}")
    for name, column in zip(("unpruned", "random"), sums.T, strict=False):
        less = mean(sums[:, 2] - column)
        cells = "  ".join(
            f"{ours - theirs:.2f}"
            for ours, theirs in zip(TABLE_1["STA"], TABLE_1[name], strict=True)
        )
        lines.append(f"{f'STA less {name}':<22}{_plain(less):<24}{cells}")
    if len(sums) < len(sample.clips):
        lines += ["", f"Left out: {len(sample.clips) - len(sums):,} that lose all of a frame."]
    return "\n".join(lines)


def grad_norm_table(options: MeasureOptions) -> str:
    """What Figure 3 shows, in numbers, on the user's model and videos.

    Raises:
        UsageError, ValueError, OSError: as `Models.load` and `read_sample` do.
    """
    models = Models.load(options)
    sample = read_sample(options, models.unpruned)
    found = grad_norms(models, sample)
    count = len(sample.clips)
    lines = [
        "GradNorm (equation 7, Figure 3): how much of it lies on the tokens that are kept",
        _measured_on(options, models, sample, count),
        f"Loss of the unpruned model: {_loss(found.ground_truths, count)}.",
        "In brackets: 95 % intervals.",
        "",
        f"{'after stage':<13}{'tokens kept':<13}{'GradNorm kept by STA':<26}by random pruning",
    ]
    for stage, kept in enumerate(found.kept):
        by_sta, random = (mean(each[:, stage]).percent() for each in (found.sta, found.random))
        lines.append(f"{stage + 1:<13}{f'{100 * kept:.1f} %':<13}{by_sta:<26}{random}")
    return "\n".join(lines)


def _loss(ground_truths: int, videos: int) -> str:
    """Which labels the cross-entropy is taken with."""
    own = videos - ground_truths
    with_truth = f"cross-entropy with the true label of {counted(ground_truths, 'videos')}"
    with_own = f"cross-entropy with its own label of {counted(own, 'videos')} without a true one"
    return "; ".join([with_truth] * bool(ground_truths) + [with_own] * (ground_truths < videos))


def _measured_on(options: MeasureOptions, models: Models, sample: ClipSample, count: int) -> str:
    failed = f" ({sample.failed:,} could not be decoded)" if sample.failed else ""
    return (
        f"{models.sta.architecture} ({without_secrets(options.checkpoint)}), r = "
        f"{models.sta.pruning.r}; the middle view of {counted(count, 'videos')}{failed} of "
        f"{options.source}"
    )


def _plain(estimate: Estimate) -> str:
    """Such as `4.43 (4.31 to 4.55)`."""
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _load(options: MeasureOptions, pruning: sta.Pruning) -> sta.VisionTransformer:
    model = sta.load_model(
        options.checkpoint,
        architecture=options.architecture,
        labels=options.labels,
        label_map=options.label_map,
        pruning=pruning,
    )
    if not isinstance(model, sta.VisionTransformer):
        raise UsageError(
            f"trajectory and gradnorm measure a ViT; {options.checkpoint} is {model.architecture}"
        )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _view(decoded: DecodedUnit, clip: int, origin: npt.NDArray[np.int64], size: int) -> Clip:
    top, left = origin
    return decoded.frames[decoded.clip_frames[clip], top : top + size, left : left + size].copy()


def _batch(clip: Clip, model: sta.VisionTransformer) -> Tensor:
    """(1, 3, T, H, W) float, normalized, on the model's device."""
    device = model.head.weight.device
    pixels = torch.from_numpy(clip[None]).to(device)
    scale = (model.config.mean, model.config.std)
    return normalized(pixels, *(torch.tensor(each, device=device) for each in scale))


def _in_turn(clips: tuple[Clip, ...]) -> Iterator[Clip]:
    """The clips; stderr tells how many are done."""
    for done, clip in enumerate(clips, start=1):
        yield clip
        if done % _REPORT_EVERY == 0 or done == len(clips):
            say(f"measured {done:,} of {len(clips):,} videos")
