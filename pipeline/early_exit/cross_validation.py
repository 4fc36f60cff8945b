"""Whether a fitted policy keeps its promise on videos that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.early_exit.binomial import reaches, refutes
from pipeline.early_exit.fitting import Promise, Trace
from pipeline.early_exit.margins import Bools, Floats
from pipeline.statistics import Estimate, mean, share

RESAMPLINGS = 100
_SEED = 20210110


@dataclass(frozen=True)
class HeldOut:
    """What a policy that was fitted on one half did with the other.

    Attributes:
        fitted_on: videos of the one half.
        threshold: of the policy.
        agreement: share of the other half whose label was that of all views; Wilson's interval.
        views: mean views of the other half; bootstrap interval.
    """

    fitted_on: int
    threshold: float
    agreement: Estimate
    views: Estimate


@dataclass(frozen=True)
class Resampled:
    """What came of many random halves, each fitted on one and counted on the other.

    Attributes:
        agreements: (resamplings,) share of the other half whose label was that of all views.
        views: (resamplings,) mean views of the other half.
        kept: in how many the share was at least the promised one.
        contradicted: in how many it was so low that the other half alone refutes the promise: the
            upper end of its one-sided interval, at the promise's confidence, is below it.
    """

    agreements: Floats
    views: Floats
    kept: int
    contradicted: int

    @property
    def count(self) -> int:
        """How many resamplings."""
        return len(self.agreements)


def held_out(trace: Trace, fitting: Bools, promise: Promise) -> HeldOut | None:
    """Fits on some videos and counts on the others; None where either is too few for the promise.

    Args:
        trace: of all videos.
        fitting: (n,) the videos to fit on.
        promise: what is to be kept.
    """
    inside, outside = np.flatnonzero(fitting), np.flatnonzero(~fitting)
    if not promise.is_provable(len(inside)) or not len(outside):
        return None
    number = trace.chosen(promise, inside)
    missed, views = trace.missed[number, outside], trace.views[number, outside]
    return HeldOut(
        fitted_on=len(inside),
        threshold=float(trace.thresholds[number]),
        agreement=share(int((~missed).sum()), len(outside)),
        views=mean(views.astype(np.float64)),
    )


def resample(trace: Trace, promise: Promise, *, count: int = RESAMPLINGS) -> Resampled | None:
    """Fits on random halves and counts on the others; None where a half is too few to fit on.

    The same each time for the same videos in the same order.
    """
    videos = trace.views.shape[1]
    half = videos // 2
    if not promise.is_provable(half):
        return None
    draw = np.random.default_rng(_SEED)
    agreements, views = np.empty(count), np.empty(count)
    kept = contradicted = 0
    for number in range(count):
        shuffled = draw.permutation(videos)
        chosen = trace.chosen(promise, shuffled[:half])
        others = shuffled[half:]
        misses = int(trace.missed[chosen, others].sum())
        agreements[number] = 1 - misses / len(others)
        views[number] = trace.views[chosen, others].mean()
        kept += reaches(misses, len(others), promise.agreement)
        contradicted += refutes(misses, len(others), promise.agreement, promise.confidence)
    return Resampled(agreements, views, kept, contradicted)
