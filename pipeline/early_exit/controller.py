"""Chooses the early exit of the next slice of a run, so that the run stays within its budget.

Pure functions. The budget is counted in views; the caller converts FLOPs or money.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.early_exit.file import OperatingPoint
from workers.inference.early_exit import EarlyExit


class BudgetError(ValueError):
    """The budget cannot cover one view of every video."""


@dataclass(frozen=True)
class Decision:
    """The early exit of a slice.

    Attributes:
        early_exit: threshold and view limit.
        point: this threshold on the videos of the calibration.
    """

    early_exit: EarlyExit
    point: OperatingPoint


def decide(
    curve: Sequence[OperatingPoint],
    *,
    fitted: float,
    views: int,
    left: float,
    mine: int,
    rest: int,
    ratio: float = 1.0,
) -> Decision:
    """The largest threshold for the next slice that the budget covers.

    The threshold is the largest, up to the fitted one, at which this slice and the rest are
    expected to stay within the views left. The views per video are then limited such that, even if
    every video of the slice reached the limit, one view would remain for each video of the rest.
    The total therefore never exceeds the budget, whatever the archive holds.

    Args:
        curve: thresholds in descending order, as measured by the calibration.
        fitted: the threshold that meets the agreement guarantee.
        views: views of the protocol.
        left: views that the budget still covers.
        mine: videos of the slice, 1 or more.
        rest: videos after it.
        ratio: views after the first of the videos so far, over those expected from the curve.

    Raises:
        BudgetError: not even one view of every video is left.
    """
    if left < mine + rest:
        covered = max(0, math.floor(left))
        raise BudgetError(
            f"{mine + rest:,} videos need a view each, and the budget covers {covered:,} views"
        )
    allowed = [point for point in curve if point.threshold <= fitted]
    fair = left / (mine + rest)
    point = next((p for p in allowed if _expected(p, ratio, views) <= fair), allowed[-1])
    limit = math.floor((left - rest) / mine)
    return Decision(EarlyExit(point.threshold, None if limit >= views else limit), point)


def _expected(point: OperatingPoint, ratio: float, views: int) -> float:
    """Expected views per video, from 1 to all."""
    return min(float(views), 1 + (point.views - 1) * ratio)


def observed_ratio(taken: Sequence[tuple[int, int, OperatingPoint]]) -> float:
    """How many more views the videos so far took than those of the calibration.

    The first view of each video is left out, since every threshold evaluates it.

    Args:
        taken: for each slice so far its labeled videos, their views, and its point of the curve.
    """
    expected = sum(videos * (point.views - 1) for videos, _, point in taken)
    extra = sum(seen - videos for videos, seen, _ in taken)
    return extra / expected if expected > 0 else 1.0
