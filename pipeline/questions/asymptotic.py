"""Intervals of ratios and of means without known bounds, at every look; asymptotic.

These hold as the number of units grows, not for each finite number: a column in which one unit of a
million holds most of the sum breaks them, and nothing in the sample can show it. Where bounds are
known, `confidence_sequence.py` is valid for every number of units.

I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit theory
and asymptotic confidence sequences, Annals of Statistics 2024, theorem 2.2.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pipeline.questions.confidence_sequence import Interval, check_alpha, numbers_in

LEAST_UNITS = 100
LEAST_EVENTS = 20


def ratio(
    parts: npt.ArrayLike,
    wholes: npt.ArrayLike | None = None,
    *,
    population: int | None = None,
    alpha: float = 0.05,
    aimed_at: int = 1000,
) -> Interval:
    """The sum of `parts` over the sum of `wholes`, such as events per hour; asymptotic.

    The delta method: the ratio's deviations are those of the mean of (part - ratio * whole) over
    the mean whole. The interval says nothing, with infinite ends, before `LEAST_UNITS` units of
    which `LEAST_EVENTS` have a part other than 0; the sample is then too small for a normal
    distribution. The same data at a later look may be given again with the new data: the interval
    depends on their sums only. Intersect the looks yourself if a monotone interval is wanted.

    Args:
        parts: (n,) numbers of the units seen so far, such as events of a video.
        wholes: (n,) sizes of the same units, such as hours, 0 or more; None for 1 each, which gives
            the mean of `parts`.
        population: units of the population, if units are drawn from it without replacement. The
            interval then closes as all are seen.
        alpha: 1 - confidence, for all looks together.
        aimed_at: number of units at which the interval is narrowest, relative to the best.

    Raises:
        ValueError: a number is NaN or infinite, a whole is negative, the lengths differ, or there
            are more units than the population has.
    """
    check_alpha(alpha)
    largest = float(np.finfo(np.float64).max)
    tops = numbers_in(parts, -largest, largest, "parts")
    bottoms = np.ones_like(tops) if wholes is None else numbers_in(wholes, 0, largest, "wholes")
    count = len(tops)
    if len(bottoms) != count:
        raise ValueError(f"parts and wholes differ in length: {count} and {len(bottoms)}")
    if population is not None and count > population:
        raise ValueError(f"the population has {population} units; got {count}")
    if aimed_at < 1:
        raise ValueError(f"aimed_at must be 1 or more; got {aimed_at}")
    whole = float(bottoms.sum())
    estimate = float(tops.sum()) / whole if whole else math.nan
    if whole and population is not None and count == population:
        return Interval(estimate, estimate, estimate, count)
    if not whole or count < LEAST_UNITS or np.count_nonzero(tops) < LEAST_EVENTS:
        return Interval(estimate, -math.inf, math.inf, count)
    deviation = float((tops - estimate * bottoms).std()) / (whole / count)
    half = deviation * _boundary(_clock(count, population), alpha, _clock(aimed_at, population))
    return Interval(estimate, estimate - half, estimate + half, count)


def _clock(count: int, population: int | None) -> float:
    """Draws with replacement that have the variance of `count` draws without.

    The deviation of the sum over the units that are left is a martingale with this as its time.
    """
    if population is None:
        return float(count)
    return count / max(1 - count / population, 1 / population)


def _boundary(time: float, alpha: float, aimed_at: float) -> float:
    """Half width for a variance of 1, by a normal mixture."""
    log = -2 * math.log(alpha)
    spread = (log + math.log(log + 1)) / aimed_at
    scale = time * spread + 1
    return math.sqrt(scale / (time**2 * spread) * 2 * (math.log(scale) / 2 - math.log(alpha)))
