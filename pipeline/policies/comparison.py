"""Whether adaptive r is worth having: against fixed r and against rungs that fall by lot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.agreement import Estimate, mean, ratio, share
from pipeline.policies.fitting import Promise, Trace
from pipeline.policies.looks import Bools, Floats, Ints, Looks, views_used
from pipeline.policies.rungs import Ladder, fit_thresholds, rungs_of

_DRAWS = 20
_SEED = 20231117


@dataclass(frozen=True)
class Spent:
    """What adaptive views took on the held-out half.

    Attributes:
        flops: mean per video.
        agreement: with all views at the lowest rung.
    """

    flops: Estimate
    agreement: Estimate


@dataclass(frozen=True)
class Together:
    """Adaptive views alone and with adaptive r, both fitted to one promise on the other half.

    Attributes:
        fixed: at the fixed r.
        adaptive: with a rung per view.
        flops_ratio: FLOPs of the second over the first.
        difference: agreement of the second less that of the first.
    """

    fixed: Spent
    adaptive: Spent
    flops_ratio: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Comparison:
    """Adaptive r on the held-out half, all views looked at, at equal mean FLOPs.

    Attributes:
        rs: drop numbers of the ladder.
        fixed_r: the fixed one that sets the budget.
        thresholds: of `changes`, descending; a view gets as many rungs as it lies below.
        shares: of the views, per rung.
        flops: mean per view.
        rung_flops: of a view, per rung.
        rungs: agreement of each rung alone with the lowest.
        adaptive: agreement of adaptive r with the lowest rung.
        fixed: that of fixed r at the same FLOPs: a mixture of the two neighbouring rungs.
        random: that of the same shares of rungs, dealt to the views by lot.
        over_fixed: adaptive less fixed, of the same videos.
        over_random: adaptive less random.
        together: with adaptive views; None where the half is too small for the promise.
    """

    rs: tuple[int, ...]
    fixed_r: int
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    flops: float
    rung_flops: tuple[float, ...]
    rungs: tuple[Estimate, ...]
    adaptive: Estimate
    fixed: Estimate
    random: Estimate
    over_fixed: Estimate
    over_random: Estimate
    together: Together | None

    @property
    def is_worth_having(self) -> bool:
        """Whether it beats both, and not by chance."""
        return self.over_fixed.low > 0 and self.over_random.low > 0


def compare(
    ladder: Ladder, fixed_r: int, fitting: Bools, promise: Promise, order: Sequence[int]
) -> Comparison:
    """Fits thresholds on some videos and compares on the others.

    Args:
        ladder: with `fixed_r` between its first and its last rung.
        fixed_r: the drop number whose FLOPs are not to be exceeded.
        fitting: (n,) the videos to fit on.
        promise: of adaptive views.
        order: numbers of the views in the order in which they are looked at.
    """
    rung = ladder.rs.index(fixed_r)
    inside, outside = ladder.of(np.flatnonzero(fitting)), ladder.of(np.flatnonzero(~fitting))
    thresholds = fit_thresholds(inside, float(ladder.flops[rung]))
    rungs = rungs_of(outside.changes, thresholds)
    reference = outside.labels(outside.fixed(0))
    agreeing = [outside.labels(outside.fixed(j)) == reference for j in range(len(ladder.rs))]
    shares = np.bincount(rungs.ravel(), minlength=len(ladder.rs)) / rungs.size
    flops = float(shares @ ladder.flops)
    adaptive = (outside.labels(rungs) == reference).astype(np.float64)
    fixed = _mixed(np.array(agreeing, np.float64), ladder.flops, flops)
    random = _dealt(outside, rungs, reference)
    return Comparison(
        rs=ladder.rs,
        fixed_r=fixed_r,
        thresholds=tuple(thresholds.tolist()),
        shares=tuple(shares.tolist()),
        flops=flops,
        rung_flops=tuple(ladder.flops.tolist()),
        rungs=tuple(share(int(each.sum()), len(each)) for each in agreeing),
        adaptive=mean(adaptive),
        fixed=mean(fixed),
        random=mean(random),
        over_fixed=mean(adaptive - fixed),
        over_random=mean(adaptive - random),
        together=_together(inside, outside, thresholds, rung, promise, order),
    )


def _mixed(agreeing: Floats, flops: Floats, budget: float) -> Floats:
    """(n,) expected agreement of videos, each at one of two neighbouring rungs by lot, so that the
    mean FLOPs are the budget.

    Args:
        agreeing: (rungs, n).
        flops: (rungs,) descending.
        budget: FLOPs per view.
    """
    lower = int(np.clip(np.searchsorted(-flops, -budget, side="right"), 1, len(flops) - 1))
    upper = lower - 1
    weight = np.clip((budget - flops[lower]) / (flops[upper] - flops[lower]), 0, 1)
    return np.asarray(weight * agreeing[upper] + (1 - weight) * agreeing[lower])


def _dealt(ladder: Ladder, rungs: Ints, reference: Ints) -> Floats:
    """(n,) share of draws in which a video agrees when the same rungs fall by lot."""
    draw = np.random.default_rng(_SEED)
    hits = np.zeros(ladder.videos)
    for _ in range(_DRAWS):
        dealt = draw.permutation(rungs.ravel()).reshape(rungs.shape)
        hits += ladder.labels(dealt) == reference
    return hits / _DRAWS


def _together(
    inside: Ladder,
    outside: Ladder,
    thresholds: Floats,
    rung: int,
    promise: Promise,
    order: Sequence[int],
) -> Together | None:
    if not promise.is_provable(inside.videos):
        return None
    reference = outside.labels(outside.fixed(0))

    def spent(inner: Ints, outer: Ints) -> tuple[Floats, Floats]:
        """(n,) FLOPs and agreement of each held-out video."""
        trace = Trace.of(Looks.of_probabilities(inside.taken(inner), order))
        margin = float(trace.margins[trace.chosen(promise)])
        looks = Looks.of_probabilities(outside.taken(outer), order)
        used = views_used(looks, margin)
        costs = np.cumsum(outside.flops[outer[:, list(order)]], axis=1)
        rows = np.arange(looks.videos)
        labels = looks.labels[rows, used - 1]
        return costs[rows, used - 1], (labels == reference).astype(np.float64)

    fixed = spent(inside.fixed(rung), outside.fixed(rung))
    adaptive = spent(rungs_of(inside.changes, thresholds), rungs_of(outside.changes, thresholds))
    return Together(
        fixed=Spent(*map(mean, fixed)),
        adaptive=Spent(*map(mean, adaptive)),
        flops_ratio=ratio(adaptive[0], fixed[0]),
        difference=mean(adaptive[1] - fixed[1]),
    )
