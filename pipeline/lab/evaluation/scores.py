"""Who was right: trials and true labels to accuracies, and to differences over the same videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import statistics as agreement
from pipeline.lab.evaluation.variants import Variant
from pipeline.labeling.sweep import Trials
from pipeline.statistics import Estimate

Floats = npt.NDArray[np.floating]

TOP = 5


@dataclass(frozen=True)
class Outcome:
    """What one variant did on each of n videos, the mean over its seeds.

    Attributes:
        top1: (n,) share of seeds whose mean over all views puts the true label first.
        top5: (n,) among the first five.
        per_view: (n,) share of single views that put it first.
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
class Outcomes:
    """What all variants did on the same videos.

    Attributes:
        by_variant: by name.
        videos: videos whose true label is one of the model's.
        failed: videos that could not be read.
        unlabelled: videos without a true label.
        unknown: true labels that are none of the model's, with the number of their videos.
    """

    by_variant: dict[str, Outcome]
    videos: int
    failed: int
    unlabelled: int
    unknown: Counter[str]


def outcomes(
    chunks: Iterable[Trials], variants: Sequence[Variant], labels: Sequence[str]
) -> Outcomes:
    """Judges trials by their true labels; what it holds is some 120 bytes per video and trial.

    Args:
        chunks: the trials, of which those of `variants` are read.
        variants: what to judge.
        labels: names of the model's classes.
    """
    places = {label: place for place, label in enumerate(labels)}
    names = [name for variant in variants for name in variant.trials()]
    parts: dict[str, list[Floats]] = {name: [] for name in names}
    failed = unlabelled = 0
    unknown: Counter[str] = Counter()
    for chunk in chunks:
        failed += chunk.failed
        unlabelled += sum(truth is None for truth in chunk.truths)
        unknown.update(truth for truth in chunk.truths if truth is not None and truth not in places)
        judged = [place for place, truth in enumerate(chunk.truths) if truth in places]
        truths = np.array([places[str(chunk.truths[place])] for place in judged], np.int64)
        for name in names:
            views = chunk.probabilities[name].shape[1]
            parts[name].append(
                np.column_stack(
                    [
                        *judge(chunk.probabilities[name][judged], truths),
                        chunk.gpu_ms[name][judged] / views,
                        chunk.flops[name][judged] / views,
                    ]
                )
            )
    tried = {
        name: np.concatenate(each) if each else np.empty((0, 5)) for name, each in parts.items()
    }
    by_variant = {
        variant.name: _over_seeds([tried[name] for name in variant.trials()])
        for variant in variants
    }
    videos = len(next(iter(tried.values())))
    return Outcomes(by_variant, videos, failed, unlabelled, unknown)


def judge(probabilities: Floats, truths: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Who was right.

    Args:
        probabilities: (n, views, classes).
        truths: (n,) classes.

    Returns:
        (n,) each: whether the mean over the views puts the truth first, whether among the first
        five, and the share of single views that put it first. Of equal probabilities that of the
        lower class counts as the higher.
    """
    if not len(truths):
        return np.empty(0), np.empty(0), np.empty(0)
    order = np.argsort(-probabilities.mean(axis=1, dtype=np.float64), axis=1, kind="stable")
    found = order == truths[:, None]
    views = probabilities.argmax(axis=2) == truths[:, None]
    return found[:, 0].astype(float), found[:, :TOP].any(axis=1).astype(float), views.mean(axis=1)


def _over_seeds(tried: Sequence[Floats]) -> Outcome:
    top1, top5, per_view, ms, flops = np.mean(np.stack(tried), axis=0).T
    return Outcome(top1, top5, per_view, ms, flops, seeds=len(tried))


def accuracy(hits: Floats, *, seeds: int = 1) -> Estimate:
    """Share of hits (n,) with its 95 % interval over videos: Wilson's, or for the mean over several
    seeds, which is no whole number of hits, a bootstrap.
    """
    if seeds == 1 and np.isin(hits, (0.0, 1.0)).all():
        return agreement.share(int(hits.sum()), len(hits))
    return agreement.mean(hits)


def difference(hits: Floats, base: Floats) -> Estimate:
    """Mean of hits - base (n,) over the same videos, with a bootstrap over these."""
    return agreement.mean(hits - base)
