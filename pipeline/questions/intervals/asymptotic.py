"""Intervals of ratios and of means without known bounds, at every look; asymptotic.

These hold as the number of units grows, not for each finite number: a column in which one unit of a
million holds most of the sum breaks them, and nothing in the sample can show it. Where bounds are
known, `confidence_sequence.py` is valid for every number of units.

I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit theory
and asymptotic confidence sequences, Annals of Statistics 2024, theorem 2.2. It bounds a Brownian
motion at all times. One estimate from n units is such a motion at the time n, over n. The
difference of two independent ones has the variance V = s'^2 / n' + s^2 / n; its covariance with
that of an earlier look is the V of the later look, whatever the sizes of both samples, so
difference / V is a Brownian motion at the time 1 / V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.intervals.confidence_sequence import Interval, check_alpha, numbers_in

Floats = npt.NDArray[np.float64]

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
    which `LEAST_EVENTS` have another ratio than the most frequent one, such as 0; the sample is
    then too small for a normal distribution: the less frequent one of two numbers may not be in it
    at all, and its deviation would be 0. Each look is given all data so far, in any order.
    Intersect the looks yourself if a monotone interval is wanted.

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
    return RatioSample.of(parts, wholes, population=population).interval(alpha, aimed_at)


def ratio_difference(
    one: RatioSample, other: RatioSample, *, alpha: float = 0.05, aimed_at: int = 1000
) -> Interval:
    """One ratio less another, of independent samples; asymptotic.

    The variances of both add, so that the interval is 1.4 times as wide as each of two that are
    alike. It says nothing before both samples are large enough for `ratio`. The sizes of both may
    grow in any proportion that does not depend on the ratios seen.

    Args:
        one, other: all units seen so far.
        alpha: 1 - confidence, for all looks together.
        aimed_at: number of units of each at which the interval is narrowest, relative to the best.
    """
    check_alpha(alpha)
    _check_aim(aimed_at)
    sides = (one, other)
    estimate, count = one.estimate - other.estimate, one.count + other.count
    if not all(each.is_complete or each.is_enough for each in sides):
        return Interval(estimate, -math.inf, math.inf, count)
    spread = sum(each.deviation**2 for each in sides)
    variance = sum(each.deviation**2 / each.clock for each in sides)
    if not variance:
        return Interval(estimate, estimate, estimate, count)
    # In units of as many draws from both.
    aim = spread / sum(each.deviation**2 / _clock(aimed_at, each.population) for each in sides)
    half = math.sqrt(spread) * _boundary(spread / variance, alpha, aim)
    return Interval(estimate, estimate - half, estimate + half, count)


@dataclass(frozen=True)
class RatioSample:
    """What a sample tells of a ratio.

    Attributes:
        estimate: the ratio; NaN where the wholes are 0.
        deviation: standard deviation of a unit's part in the estimate; 0 where all were seen.
        count: units seen.
        events: units whose ratio is not the most frequent one.
        population: units of the population; None for draws with replacement.
    """

    estimate: float
    deviation: float
    count: int
    events: int
    population: int | None

    @classmethod
    def of(
        cls,
        parts: npt.ArrayLike,
        wholes: npt.ArrayLike | None = None,
        *,
        population: int | None = None,
    ) -> RatioSample:
        """Of the arguments of `ratio`, with its errors."""
        largest = float(np.finfo(np.float64).max)
        tops = numbers_in(parts, -largest, largest, "parts")
        bottoms = np.ones_like(tops) if wholes is None else numbers_in(wholes, 0, largest, "wholes")
        count = len(tops)
        if len(bottoms) != count:
            raise ValueError(f"parts and wholes differ in length: {count} and {len(bottoms)}")
        if population is not None and count > population:
            raise ValueError(f"the population has {population} units; got {count}")
        events, whole = _events(tops, bottoms), float(bottoms.sum())
        if not whole:
            return cls(math.nan, 0.0, count, events, population)
        estimate = float(tops.sum()) / whole
        deviation = float((tops - estimate * bottoms).std()) / (whole / count)
        return cls(estimate, deviation * (count != population), count, events, population)

    def interval(self, alpha: float, aimed_at: int = 1000) -> Interval:
        """The ratio's own interval; see `ratio`."""
        check_alpha(alpha)
        _check_aim(aimed_at)
        if not (self.is_complete or self.is_enough):
            return Interval(self.estimate, -math.inf, math.inf, self.count)
        half = self.deviation * _boundary(self.clock, alpha, _clock(aimed_at, self.population))
        return Interval(self.estimate, self.estimate - half, self.estimate + half, self.count)

    @property
    def is_complete(self) -> bool:
        """Whether the ratio is that of the whole population."""
        return self.count == self.population and not math.isnan(self.estimate)

    @property
    def is_enough(self) -> bool:
        """Whether the sample is large enough for a normal distribution."""
        known = not math.isnan(self.estimate)
        return known and self.count >= LEAST_UNITS and self.events >= LEAST_EVENTS

    @property
    def clock(self) -> float:
        """Draws with replacement that tell as much."""
        return _clock(self.count, self.population)


def _events(parts: Floats, wholes: Floats) -> int:
    sized = wholes > 0
    # A part that is a number times its whole gives this number but for rounding.
    with np.errstate(over="ignore"):
        ratios = (parts[sized] / wholes[sized]).astype(np.float32)
    return len(ratios) - int(np.unique(ratios, return_counts=True)[1].max(initial=0))


def _check_aim(aimed_at: int) -> None:
    if aimed_at < 1:
        raise ValueError(f"aimed_at must be 1 or more; got {aimed_at}")


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
