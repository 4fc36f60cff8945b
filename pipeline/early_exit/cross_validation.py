"""Cross-validation: whether the guarantee holds on videos that the threshold was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.early_exit.binomial import reaches, refutes
from pipeline.early_exit.fitting import AgreementGuarantee, Trace
from pipeline.early_exit.margins import Bools, Floats
from pipeline.statistics import Estimate, mean, share

RESAMPLINGS = 100
_SEED = 20210110


@dataclass(frozen=True)
class HeldOut:
    """A threshold fitted on one half of the videos and evaluated on the other.

    Attributes:
        fitted_on: videos of the one half.
        threshold: fitted on them.
        agreement: share of the other half that keeps the label of all views; Wilson's interval.
        views: mean views of the other half; bootstrap interval.
    """

    fitted_on: int
    threshold: float
    agreement: Estimate
    views: Estimate


@dataclass(frozen=True)
class Resampled:
    """Many random halves: the threshold is fitted on one and evaluated on the other.

    Attributes:
        agreements: (resamplings,) share of the other half that keeps the label of all views.
        views: (resamplings,) mean views of the other half.
        kept: resamplings in which that share is at least the guaranteed one.
        refuted: resamplings in which the other half alone refutes the guarantee: the upper bound
            of its one-sided interval, at the guarantee's confidence, is below it.
    """

    agreements: Floats
    views: Floats
    kept: int
    refuted: int

    @property
    def count(self) -> int:
        """How many resamplings."""
        return len(self.agreements)


def held_out(trace: Trace, fitting: Bools, guarantee: AgreementGuarantee) -> HeldOut | None:
    """Fits on some videos and evaluates on the others.

    None where either are too few, or where no threshold meets the guarantee.

    Args:
        trace: of all videos.
        fitting: (n,) the videos to fit on.
        guarantee: what the threshold must meet.
    """
    inside, outside = np.flatnonzero(fitting), np.flatnonzero(~fitting)
    if not guarantee.is_provable(len(inside)) or not len(outside):
        return None
    number = trace.chosen(guarantee, inside)
    if number is None:
        return None
    missed, views = trace.missed[number, outside], trace.views[number, outside]
    return HeldOut(
        fitted_on=len(inside),
        threshold=float(trace.thresholds[number]),
        agreement=share(int((~missed).sum()), len(outside)),
        views=mean(views.astype(np.float64)),
    )


def resample(
    trace: Trace, guarantee: AgreementGuarantee, *, count: int = RESAMPLINGS
) -> Resampled | None:
    """Fits on random halves and evaluates on the others.

    None where a half is too few to fit on. Halves on which no threshold meets the guarantee are
    left out. Deterministic for the same videos in the same order.
    """
    videos = trace.views.shape[1]
    half = videos // 2
    if not guarantee.is_provable(half):
        return None
    draw = np.random.default_rng(_SEED)
    agreements, views = [], []
    kept = refuted = 0
    for _ in range(count):
        shuffled = draw.permutation(videos)
        chosen = trace.chosen(guarantee, shuffled[:half])
        if chosen is None:
            continue
        others = shuffled[half:]
        misses = int(trace.missed[chosen, others].sum())
        agreements.append(1 - misses / len(others))
        views.append(float(trace.views[chosen, others].mean()))
        kept += reaches(misses, len(others), guarantee.agreement)
        refuted += refutes(misses, len(others), guarantee.agreement, guarantee.confidence)
    if not agreements:
        return None
    return Resampled(np.array(agreements), np.array(views), kept, refuted)
