"""Scores of each variant against the ground truth, and differences over the same videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import statistics
from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.listing import Listing
from pipeline.lab.evaluation.variants import PruningVariant
from pipeline.labeling.sweep import Sweep
from pipeline.statistics import Estimate

Floats = npt.NDArray[np.floating]

TOP = 5
_SHOWN = 3


@dataclass(frozen=True)
class VariantScores:
    """Scores of one variant on each of n videos, the mean over its seeds.

    Attributes:
        top1: (n,) share of seeds whose mean over all views is correct.
        top5: (n,) the same among the five best classes.
        per_view: (n,) share of single views that are correct.
        ms: (n,) device time per view, milliseconds.
        flops: (n,) multiply-accumulates per view.
        seeds: how many there are.
    """

    top1: Floats
    top5: Floats
    per_view: Floats
    ms: Floats
    flops: Floats
    seeds: int


@dataclass(frozen=True)
class Scores:
    """Scores of all variants on the same videos.

    Attributes:
        by_variant: by name.
        videos: videos whose ground truth is a class of the model.
        failed: videos that could not be read.
        unlabeled: videos without a ground truth.
        unknown: ground truths that are no class of the model, with their number of videos.
    """

    by_variant: dict[str, VariantScores]
    videos: int
    failed: int
    unlabeled: int
    unknown: Counter[str]


def score_variants(
    chunks: Iterable[Sweep], variants: Sequence[PruningVariant], labels: Sequence[str]
) -> Scores:
    """Scores a sweep against its ground truth; holds about 120 bytes per video and pruning.

    Args:
        chunks: the sweep.
        variants: which of its prunings to score.
        labels: names of the model's classes.
    """
    class_ids = {label: place for place, label in enumerate(labels)}
    names = list(dict.fromkeys(name for variant in variants for name in variant.sweep()))
    parts: dict[str, list[Floats]] = {name: [] for name in names}
    failed = unlabeled = 0
    unknown: Counter[str] = Counter()
    for chunk in chunks:
        failed += chunk.failed
        unlabeled += sum(ground_truth is None for ground_truth in chunk.ground_truths)
        unknown.update(
            ground_truth
            for ground_truth in chunk.ground_truths
            if ground_truth is not None and ground_truth not in class_ids
        )
        judged = [
            place
            for place, ground_truth in enumerate(chunk.ground_truths)
            if ground_truth in class_ids
        ]
        ground_truths = np.array(
            [class_ids[str(chunk.ground_truths[place])] for place in judged], np.int64
        )
        for name in names:
            views = chunk.probabilities[name].shape[1]
            parts[name].append(
                np.column_stack(
                    [
                        *judge(chunk.probabilities[name][judged], ground_truths),
                        chunk.device_ms[name][judged] / views,
                        chunk.flops[name][judged] / views,
                    ]
                )
            )
    tried = {
        name: np.concatenate(each) if each else np.empty((0, 5)) for name, each in parts.items()
    }
    by_variant = {
        variant.name: _over_seeds([tried[name] for name in variant.sweep()]) for variant in variants
    }
    videos = len(next(iter(tried.values())))
    return Scores(by_variant, videos, failed, unlabeled, unknown)


def judge(
    probabilities: Floats, ground_truths: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Compares probabilities with the ground truth.

    Args:
        probabilities: (n, views, classes).
        ground_truths: (n,) classes.

    Returns:
        (n,) each: whether the mean over the views is correct, whether the ground truth is among
        its five best classes, and the share of correct single views. Ties go to the lower class.
    """
    if not len(ground_truths):
        return np.empty(0), np.empty(0), np.empty(0)
    order = np.argsort(-probabilities.mean(axis=1, dtype=np.float64), axis=1, kind="stable")
    found = order == ground_truths[:, None]
    views = probabilities.argmax(axis=2) == ground_truths[:, None]
    return found[:, 0].astype(float), found[:, :TOP].any(axis=1).astype(float), views.mean(axis=1)


def _over_seeds(tried: Sequence[Floats]) -> VariantScores:
    top1, top5, per_view, ms, flops = np.mean(np.stack(tried), axis=0).T
    return VariantScores(top1, top5, per_view, ms, flops, seeds=len(tried))


def accuracy(hits: Floats, *, seeds: int = 1) -> Estimate:
    """Mean of hits (n,) with its 95 % interval over videos.

    Wilson's interval; a bootstrap for means over several seeds, which are no counts.
    """
    if seeds == 1 and np.isin(hits, (0.0, 1.0)).all():
        return statistics.share(int(hits.sum()), len(hits))
    return statistics.mean(hits)


def difference(hits: Floats, base: Floats) -> Estimate:
    """Mean of hits - base (n,) over the same videos; see `statistics.mean_difference`."""
    return statistics.mean_difference(hits - base)


def check_ground_truths(
    listing: Listing, labels: Sequence[str], *, limit: int | None = None
) -> None:
    """Refuses an input without a label that is a class of the model.

    Raises:
        UsageError: the message names the labels that were found, if any.
    """
    found = checked_input(listing, labels, limit=limit).labels
    if not found.given:
        raise UsageError(
            f"no video of {listing.source} has a label, which the evaluation needs as ground "
            f"truth; name a list with columns uri and label"
        )
    if not found.known:
        ours = ", ".join(map(repr, labels[:_SHOWN]))
        raise UsageError(f"{listing.source}: {found.problem()}; the model's are {ours}, ...")
