"""Intervals of sums of several populations' means: a stratified mean, a difference; at every look.

The interval of sum over groups of coefficient * mean rests on empirical Bernstein bets, whose
exponent is linear in each mean. With bets proportional to what a unit of a group counts for in the
sum, only the sum is left in the product over all groups, so that no interval is added to another:
two equal groups give an interval 1.4 times as wide as one, where added intervals give twice.

I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024,
theorem 2; rounds without replacement as in `capital.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.ask.confidence_sequence import Interval, check_alpha, numbers_in

Floats = npt.NDArray[np.float64]

# Bets on the sum, as multiples of the one that is aimed at.
_FACTORS = np.concatenate([[0.6, 1.0, 1.6], 3.0 ** np.arange(-4, 5)])
_LOG_WEIGHTS = np.log(np.concatenate([[0.2, 0.4, 0.2], np.full(9, 0.2 / 9)]))
_LARGEST_BET = 0.9


@dataclass(frozen=True)
class Group:
    """One of the populations.

    Attributes:
        population: its units.
        coefficient: what its mean counts for in the sum: its share of all units for a stratified
            mean; 1 and -1 for a difference.
    """

    population: int
    coefficient: float

    def __post_init__(self) -> None:
        if self.population < 1:
            raise ValueError(f"population must be 1 or more; got {self.population}")
        if not math.isfinite(self.coefficient) or self.coefficient == 0:
            raise ValueError(f"coefficient must be a number but 0; got {self.coefficient:g}")


def strata(populations: Sequence[int]) -> list[Group]:
    """Groups whose sum is the mean over all units of all populations."""
    total = sum(populations)
    return [Group(each, each / total) for each in populations]


def difference(one: int, other: int) -> list[Group]:
    """Groups whose sum is the mean of a population of `one` units minus that of one of `other`."""
    return [Group(one, 1.0), Group(other, -1.0)]


@dataclass
class LinearSequence:
    """Interval of the sum over groups of coefficient * mean, after each round.

    The groups' units are drawn independently of each other, each in a random order without
    replacement, and are numbers in 0 to 1. A round has units of every group. Sizes of a round may
    depend on earlier rounds only.

    Args:
        groups: the populations and what they count for.
        alpha: 1 - confidence, for all looks together.
        within: half width at which one will stop; None aims at each round's own size.
    """

    groups: Sequence[Group]
    alpha: float = 0.05
    within: float | None = None
    _sides: list[list[tuple[Floats, Floats]]] = field(default_factory=lambda: [[], []], init=False)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not self.groups:
            raise ValueError("groups must hold one group or more")
        if self.within is not None and not self.within > 0:
            raise ValueError(f"within must be above 0; got {self.within:g}")
        self._seen = [np.empty(0) for _ in self.groups]
        self._ends = self._certain()

    def add(self, values: Sequence[npt.ArrayLike]) -> Interval:
        """The interval after another round: (n,) numbers of each group, in the order of `groups`.

        Raises:
            ValueError: a number is NaN or beyond 0 to 1, a group has no unit in this round though
                it has some left, or more than its population has.
        """
        given = [numbers_in(each, 0, 1, "values") for each in values]
        if len(given) != len(self.groups):
            raise ValueError(f"there are {len(self.groups)} groups; got numbers of {len(given)}")
        for group, seen, new in zip(self.groups, self._seen, given, strict=True):
            left = group.population - len(seen)
            if len(new) > left or (left and not len(new)):
                raise ValueError(f"a round must have 1 to {left} units of a group; got {len(new)}")
        if not any(map(len, given)):
            return self.interval()
        bet = self._aimed(given)
        for side, exponents in zip((1, -1), self._sides, strict=True):
            exponents.append(self._exponents(given, side, bet * _FACTORS))
        pairs = zip(self._seen, given, strict=True)
        self._seen = [np.concatenate([seen, new]) for seen, new in pairs]
        self._ends = self._intersected()
        return self.interval()

    def interval(self) -> Interval:
        """The interval so far."""
        count = sum(len(each) for each in self._seen)
        return Interval(self._estimate(), *self._ends, count)

    def deviations(self) -> Floats:
        """(groups,) standard deviations of the numbers seen, for `neyman`; never 0."""
        return np.array([math.sqrt(_variance(each)) for each in self._seen])

    def _estimate(self) -> float:
        if not all(len(each) for each in self._seen):
            return math.nan
        pairs = zip(self.groups, self._seen, strict=True)
        return float(sum(group.coefficient * seen.mean() for group, seen in pairs))

    def _aimed(self, given: Sequence[Floats]) -> float:
        """The bet on the sum that gains most at the margin: margin / variance of one round's part.

        In units of the sum; the variance is that of all units up to and with this round.
        """
        variance = 0.0
        for group, seen, new in zip(self.groups, self._seen, given, strict=True):
            count = len(seen) + len(new)
            variance += group.coefficient**2 * _variance(seen) / max(1, count)
        log = 2 * math.log(2 / self.alpha)
        margin = self.within or math.sqrt(log * variance)
        # In proportion to the size of the round; all rounds together then bet margin / variance.
        total = sum(len(seen) + len(new) for seen, new in zip(self._seen, given, strict=True))
        return margin / variance * sum(map(len, given)) / total

    def _exponents(self, given: Sequence[Floats], side: int, bets: Floats) -> tuple[Floats, Floats]:
        """(bets,) constants and (bets,) slopes: log capital = constant - slope * sum of means."""
        constants = np.zeros(len(bets))
        largest = bets.copy()
        for group, seen, new in zip(self.groups, self._seen, given, strict=True):
            if len(new):
                most = _LARGEST_BET / _unit_bet(group, len(seen), len(new))
                largest = np.minimum(largest, most)
        for group, seen, new in zip(self.groups, self._seen, given, strict=True):
            if not len(new):
                # A group whose units were all seen has a known mean.
                constants += side * group.coefficient * largest * seen.mean()
                continue
            each = largest * _unit_bet(group, len(seen), len(new))
            sign = side if group.coefficient > 0 else -side
            left = group.population - len(seen)
            guess = (seen.sum() + 0.5) / (len(seen) + 1)
            squares = float(((new - guess) ** 2).sum())
            # The mean of what is left is (population * mean - sum) / left; the mean's own part is
            # in the slope.
            known = new.sum() + len(new) * seen.sum() / left
            constants += each * sign * known - squares * (-np.log1p(-each) - each)
        return constants, side * largest

    def _intersected(self) -> tuple[float, float]:
        limit = math.log(2 / self.alpha)
        certain = self._certain()
        low, high = max(self._ends[0], certain[0]), min(self._ends[1], certain[1])
        middle = min(max(self._estimate(), low), high)
        low = self._end(0, low, middle, limit)
        high = self._end(1, high, middle, limit)
        # Both ends cross only if the interval misses the sum, which alpha allows for.
        return (low, high) if low <= high else ((low + high) / 2,) * 2

    def _end(self, side: int, outer: float, inner: float, limit: float) -> float:
        constants = np.sum([each[0] for each in self._sides[side]], axis=0)
        slopes = np.sum([each[1] for each in self._sides[side]], axis=0)
        for _ in range(40):
            middle = (outer + inner) / 2
            log = np.logaddexp.reduce(_LOG_WEIGHTS + constants - slopes * middle)
            outer, inner = (middle, inner) if log >= limit else (outer, middle)
        return outer

    def _certain(self) -> tuple[float, float]:
        """Bounds of the sum that hold whatever the units that were not seen are."""
        low = high = 0.0
        for group, seen in zip(self.groups, self._seen, strict=True):
            least = float(seen.sum()) / group.population
            most = least + 1 - len(seen) / group.population
            ends = sorted([group.coefficient * least, group.coefficient * most])
            low, high = low + ends[0], high + ends[1]
        return low, high


def _unit_bet(group: Group, before: int, size: int) -> float:
    """Bet on one unit of a group for a bet of 1 on the sum.

    `size` units, each with a slope of population / left in the mean, make up the coefficient.
    """
    left = group.population - before
    return abs(group.coefficient) * left / (size * group.population)


def _variance(numbers: Floats) -> float:
    """A variance that a pseudo-observation keeps above 0."""
    squares = float(numbers.var()) * len(numbers) if len(numbers) else 0.0
    return (squares + 0.25) / (len(numbers) + 1)
