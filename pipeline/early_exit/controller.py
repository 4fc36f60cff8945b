"""How carefully the next slice of a run may look, so that the whole keeps within its budget.

Pure functions. What is spent is counted in views; whoever calls knows what a view costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.early_exit.early_exit_file import Point
from workers.inference.early_exit import EarlyExit


class BudgetError(ValueError):
    """The budget cannot cover one view of every video."""


@dataclass(frozen=True)
class Decision:
    """How a slice is looked at.

    Attributes:
        policy: when it has looked at a video enough.
        point: what this threshold did on the videos of the calibration.
    """

    early_exit: EarlyExit
    point: Point


def decide(
    curve: Sequence[Point],
    *,
    promised: float,
    views: int,
    left: float,
    mine: int,
    rest: int,
    ratio: float = 1.0,
) -> Decision:
    """The most careful policy for the next slice that the budget allows.

    The threshold is the largest, that of the promise at most, with which this slice and the rest
    are expected to spend what is left. The views of a video are then limited so that even
    if every video of the slice took that long, a view would be left for each of the rest: so the
    total never passes the budget, whatever the archive holds.

    Args:
        curve: thresholds and what they did, from the most careful to the quickest.
        promised: threshold that keeps the policy's promise.
        views: views of the protocol.
        left: views that the budget still covers.
        mine: videos of the slice, 1 or more.
        rest: videos after it.
        ratio: views that the videos so far took over those that the curve expected of them.

    Raises:
        BudgetError: not even one view of every video is left.
    """
    if left < mine + rest:
        covered = max(0, math.floor(left))
        raise BudgetError(
            f"{mine + rest:,} videos need a view each, and the budget covers {covered:,}"
        )
    allowed = [point for point in curve if point.threshold <= promised]
    fair = left / (mine + rest)
    point = next((p for p in allowed if _expected(p, ratio, views) <= fair), allowed[-1])
    most = math.floor((left - rest) / mine)
    return Decision(EarlyExit(point.threshold, None if most >= views else most), point)


def _expected(point: Point, ratio: float, views: int) -> float:
    """Views per video: never fewer than one, never more than all."""
    return min(float(views), 1 + (point.views - 1) * ratio)


def observed_ratio(taken: Sequence[tuple[int, int, Point]]) -> float:
    """How much more the videos so far were looked at than those of the calibration.

    The first view of a video is taken whatever the policy; what follows the policy are the others.

    Args:
        taken: for each slice so far its labeled videos, their views, and what was expected.
    """
    expected = sum(videos * (point.views - 1) for videos, _, point in taken)
    beyond = sum(seen - videos for videos, seen, _ in taken)
    return beyond / expected if expected > 0 else 1.0
