"""Adaptive r: a ladder of prunings, and for each view the rung that its redundancy asks for.

A view whose picture changes much from frame to frame has little to drop and gets a low rung; one
that stands still gets a high one. Where the lines lie is fitted so that the views cost as much as
at one fixed r.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.policies.looks import Floats, Ints

# Shares of the rungs are tried in steps of one part in so many.
_PARTS = 10
# By so much may the mean FLOPs be above the budget: a quantile lies between two views.
_SLACK = 1.001


@dataclass(frozen=True)
class Ladder:
    """What every rung says of every view of n videos.

    Attributes:
        rs: drop number of each rung, ascending: FLOPs fall.
        flops: (rungs,) of one view.
        probabilities: (rungs, n, views, classes) float32, clip by clip and crop by crop.
        changes: (n, views) how much the picture changes from frame to frame.
    """

    rs: tuple[int, ...]
    flops: Floats
    probabilities: Floats
    changes: Floats

    def __post_init__(self) -> None:
        rungs, shape = len(self.rs), self.probabilities.shape
        if list(self.rs) != sorted(set(self.rs)):
            raise ValueError(f"the rungs must ascend; got {self.rs}")
        if len(self.flops) != rungs or shape[0] != rungs or shape[1:3] != self.changes.shape:
            raise ValueError(
                f"shapes do not fit together: {rungs} rungs, flops {self.flops.shape}, "
                f"probabilities {shape}, changes {self.changes.shape}"
            )

    @property
    def videos(self) -> int:
        """How many videos."""
        return int(self.probabilities.shape[1])

    def of(self, chosen: Ints) -> Ladder:
        """Those of some of the videos."""
        return Ladder(self.rs, self.flops, self.probabilities[:, chosen], self.changes[chosen])

    def taken(self, rungs: Ints) -> Floats:
        """(n, views, classes) probabilities with a rung (n, views) for each view."""
        videos = np.arange(self.videos)[:, None]
        views = np.arange(self.changes.shape[1])[None, :]
        return np.asarray(self.probabilities[rungs, videos, views])

    def labels(self, rungs: Ints) -> Ints:
        """(n,) label of the mean over all views with a rung (n, views) for each view."""
        means = self.taken(rungs).mean(axis=1, dtype=np.float64)
        return np.asarray(means.argmax(axis=1))

    def fixed(self, rung: int) -> Ints:
        """(n, views) the same rung for every view."""
        return np.full(self.changes.shape, rung)


def rungs_of(changes: Floats, thresholds: Floats) -> Ints:
    """(n, views) rung of each view: the number of thresholds that its change lies below.

    Args:
        changes: (n, views).
        thresholds: (rungs - 1,) descending.
    """
    return np.asarray((changes[..., None] < thresholds).sum(axis=-1))


def fit_thresholds(ladder: Ladder, budget: float) -> Floats:
    """(rungs - 1,) thresholds under which the most labels are those of the lowest rung.

    Shares of the rungs in tenths are tried, all whose views cost no more than `budget` FLOPs on
    average and as much as can be: moving a tenth one rung down would cost more. One rung for all
    is what adaptive r is compared with, and taken only where views cannot be told apart. Among
    equals the thresholds are taken that give the reference label the most probability.

    Raises:
        ValueError: no rung costs so little.
    """
    reference = ladder.labels(ladder.fixed(0))
    rows = np.arange(ladder.videos)
    best: tuple[tuple[bool, float, float], Floats] | None = None
    for shares in _shares(len(ladder.rs)):
        if not _spends(shares, ladder.flops, budget):
            continue
        thresholds = _thresholds(ladder.changes, shares)
        rungs = rungs_of(ladder.changes, thresholds)
        # Views that change alike get one rung, whatever the shares say.
        if ladder.flops[rungs].mean() > _SLACK * budget:
            continue
        means = ladder.taken(rungs).mean(axis=1, dtype=np.float64)
        agreement = float((means.argmax(axis=1) == reference).mean())
        score = (bool(shares.max() < 1), agreement, float(means[rows, reference].mean()))
        if best is None or score > best[0]:
            best = score, thresholds
    if best is None:
        raise ValueError(f"no rung of {ladder.flops} FLOPs costs {budget:g} or less per view")
    return best[1]


def _thresholds(changes: Floats, shares: Floats) -> Floats:
    """(rungs - 1,) thresholds under which the views with the most change get the first rung."""
    above = np.cumsum(shares)[:-1].round(9)
    inner = np.quantile(changes, 1 - above.clip(0, 1))
    return np.where(above == 0, np.inf, np.where(above == 1, -np.inf, inner))


def _shares(rungs: int) -> Iterator[Floats]:
    """All ways to share views among rungs in steps of a tenth."""
    for bars in itertools.combinations(range(_PARTS + rungs - 1), rungs - 1):
        edges = (-1, *bars, _PARTS + rungs - 1)
        yield np.array([b - a - 1 for a, b in itertools.pairwise(edges)]) / _PARTS


def _spends(shares: Floats, flops: Floats, budget: float) -> bool:
    """Whether views with these shares cost no more than the budget, and one tenth moved by one rung
    would.
    """
    cost = float(shares @ flops)
    steps = [
        (flops[a] - flops[b]) / _PARTS
        for a, b in itertools.pairwise(range(len(flops)))
        if shares[b]
    ]
    return cost <= budget * (1 + 1e-9) and all(cost + step > budget for step in steps)
