"""Intervals of the mean of bounded numbers that hold at every look.

Units of a population are seen in a random order without replacement, in rounds. The interval after
each round holds the mean of the population with the wanted confidence for all rounds at once, so
one may stop at any of them, for any reason. It is valid for finite samples, without assumptions
but the bounds and the random order. The construction is that of `capital.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.questions.intervals.capital import (
    Capital,
    Histogram,
    Round,
    RoundMean,
    aimed_bets,
    expected_numbers,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with an interval, after `count` units; infinite ends say nothing."""

    estimate: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Half of the distance between both ends."""
        return (self.high - self.low) / 2

    def since(self, low: float, high: float) -> Interval:
        """What is left of it after an earlier look's interval of `low` to `high`."""
        low, high = max(low, self.low), min(high, self.high)
        if low > high:  # only if one of both misses, which alpha allows for
            low = high = (low + high) / 2
        # NaN stays.
        return Interval(min(max(self.estimate, low), high), low, high, self.count)


def numbers_in(values: npt.ArrayLike, low: float, high: float, name: str) -> Floats:
    """The values as (n,) float64.

    Raises:
        ValueError: there is another number of axes, or a value is NaN or beyond `low` to `high`.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"{name} must have one axis; got shape {numbers.shape}")
    if len(numbers) and not (numbers.min() >= low and numbers.max() <= high):
        wrong = numbers[~((numbers >= low) & (numbers <= high))][0]
        raise ValueError(f"{name} must be {low:g} to {high:g}; got {wrong:g}")
    return numbers


def check_alpha(alpha: float) -> None:
    """Raises ValueError unless `alpha`, which is 1 - confidence, is above 0 and below 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha (1 - confidence) must be above 0 and below 1; got {alpha:g}")


@dataclass
class MeanSequence:
    """Interval of the mean of bounded numbers, after each round.

    How many units a round has may depend on earlier rounds, not on what later units hold.

    Args:
        population: units of the population; None for draws with replacement, or without end.
        alpha: 1 - confidence, of the interval at all looks together.
        low, high: bounds of the numbers.
        within: half width at which one will stop, on the scale of the numbers; bets are aimed at
            it. None aims at each round's own size. It changes the width, never the validity.
    """

    population: int | None
    alpha: float = 0.05
    low: float = 0.0
    high: float = 1.0
    within: float | None = None
    _seen: list[Floats] = field(default_factory=list, init=False)
    _count: int = field(default=0, init=False)
    _sum: float = field(default=0.0, init=False)
    _ends: tuple[float, float] = field(default=(0.0, 1.0), init=False)
    rounds: list[Round] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.population is not None and self.population < 1:
            raise ValueError(f"population must be 1 or more; got {self.population}")
        if not self.low < self.high:
            raise ValueError(f"low must be below high; got {self.low:g} and {self.high:g}")
        if self.within is not None and not self.within > 0:
            raise ValueError(f"within must be above 0; got {self.within:g}")
        self._capitals = (Capital("low"), Capital("high"))

    def add(self, values: npt.ArrayLike) -> Interval:
        """The interval after another round of `values` (n,), whose order does not matter.

        Raises:
            ValueError: a value is NaN or out of bounds, or there are more than the population has.
        """
        given = numbers_in(values, self.low, self.high, "values")
        if self.population is not None and self._count + len(given) > self.population:
            total = self._count + len(given)
            raise ValueError(f"the population has {self.population} units; got {total}")
        if len(given):
            numbers = (given - self.low) / (self.high - self.low)
            self._bet(np.clip(numbers, 0.0, 1.0))
        return self.interval()

    def interval(self) -> Interval:
        """The interval so far."""
        scale = self.high - self.low
        estimate = self._sum / self._count if self._count else math.nan
        low, high = self._ends
        return Interval(
            self.low + scale * estimate,
            self.low + scale * low,
            self.low + scale * high,
            self._count,
        )

    def _bet(self, numbers: Floats) -> None:
        seen = np.concatenate(self._seen) if self._seen else np.empty(0)
        bets = self._bets(seen, len(numbers))
        line = remaining_mean(self.population, self._count, self._sum)
        histogram = Histogram.of(numbers)
        self.rounds.append(Round(histogram, line, len(numbers), expected_numbers(seen)))
        for capital, bet in zip(self._capitals, bets, strict=True):
            capital.add(histogram, line, bet)
        self._seen.append(numbers)
        self._count += len(numbers)
        self._sum += float(numbers.sum())
        self._ends = self._intersected()

    def _bets(self, seen: Floats, size: int) -> tuple[float, float]:
        margin = (self.within or 0.0) / (self.high - self.low)
        return aimed_bets(seen, margin or expected_margin(seen, self._count + size, self.alpha))

    def _intersected(self) -> tuple[float, float]:
        limit = math.log(2 / self.alpha)
        estimate = self._sum / self._count
        low, high = self._ends
        certain = certain_bounds(self.population, self._count, self._sum)
        low = max(low, certain[0], self._capitals[0].end(low, max(low, estimate), limit))
        high = min(high, certain[1], self._capitals[1].end(high, min(high, estimate), limit))
        # Both ends cross only if the interval misses the mean, which alpha allows for.
        return (low, high) if low <= high else ((low + high) / 2,) * 2


def remaining_mean(population: int | None, count: int, total: float) -> RoundMean:
    """The mean of the units not seen, if `count` units with the sum `total` were seen."""
    if population is None:
        return RoundMean(0.0, 1.0)
    left = population - count
    return RoundMean(-total / left, population / left)


def certain_bounds(population: int | None, count: int, total: float) -> tuple[float, float]:
    """Bounds of the mean of numbers in 0 to 1 that hold whatever the rest is."""
    if population is None:
        return 0.0, 1.0
    return total / population, (total + population - count) / population


def expected_margin(numbers: Floats, count: int, alpha: float) -> float:
    """Half width that `count` units with the variance of `numbers` (n,) are expected to give."""
    squares = float(numbers.var()) * len(numbers) if len(numbers) else 0.0
    variance = (squares + 0.25) / (len(numbers) + 1)
    return math.sqrt(2 * math.log(2 / alpha) * variance / count)
