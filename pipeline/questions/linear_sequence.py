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

from pipeline.questions.confidence_sequence import Interval, check_alpha, numbers_in, remaining_mean
from pipeline.questions.pairs import PairMoments, Setting

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
        proxy_mean: mean proxy score of the whole group; None where it has no proxy.
    """

    population: int
    coefficient: float
    proxy_mean: float | None = None

    def __post_init__(self) -> None:
        if self.population < 1:
            raise ValueError(f"population must be 1 or more; got {self.population}")
        if not math.isfinite(self.coefficient) or self.coefficient == 0:
            raise ValueError(f"coefficient must be a number but 0; got {self.coefficient:g}")
        if self.proxy_mean is not None:
            numbers_in([self.proxy_mean], 0, 1, "proxy_mean")


def strata(populations: Sequence[int], proxy_means: Sequence[float] | None = None) -> list[Group]:
    """Groups whose sum is the mean over all units of all populations."""
    total = sum(populations)
    means = [None] * len(populations) if proxy_means is None else proxy_means
    pairs = zip(populations, means, strict=True)
    return [Group(each, each / total, mean) for each, mean in pairs]


def difference(one: int, other: int, proxy_means: tuple[float, float] | None = None) -> list[Group]:
    """Groups whose sum is the mean of a population of `one` units minus that of one of `other`."""
    means = (None, None) if proxy_means is None else proxy_means
    return [Group(one, 1.0, means[0]), Group(other, -1.0, means[1])]


@dataclass
class _Seen:
    """What was seen of a group; a proxy of 0 stands for none."""

    group: Group
    reference: Floats = field(default_factory=lambda: np.empty(0))
    proxy: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def count(self) -> int:
        return len(self.reference)

    @property
    def left(self) -> int:
        return self.group.population - self.count

    def moments(self) -> PairMoments:
        return PairMoments.of(self.reference, self.proxy)

    def weight(self) -> float:
        """Of the proxy in the next round."""
        if self.group.proxy_mean is None:
            return 0.0
        size = self.group.population
        # Where the mean proxy score is known, the best weight is the same for every width.
        return self.moments().best(Setting(size, 0.05, 0.1, size))[0]

    def variance(self, weight: float) -> float:
        """Of reference - weight * proxy; a pseudo-observation keeps it above 0."""
        numbers = self.reference - weight * self.proxy
        squares = float(numbers.var()) * self.count if self.count else 0.0
        return (squares + 0.25) / (self.count + 1)

    def estimate(self, weight: float) -> float:
        if not self.count:
            return math.nan
        known = weight * (self.group.proxy_mean or 0.0)
        return float((self.reference - weight * self.proxy).mean()) + known

    def unit_bet(self, size: int, weight: float) -> float:
        """Bet on one unit, from 0 to 1, for a bet of 1 on the sum.

        `size` units, each with a slope of population / left / (1 + weight) in the mean, make up
        the coefficient.
        """
        group = self.group
        return abs(group.coefficient) * self.left * (1 + weight) / (size * group.population)

    def known_part(self, size: int, weight: float) -> float:
        """Sum over a round of the mean of what is left, without the part of the group's mean."""
        asked = remaining_mean(self.group.population, self.count, float(self.reference.sum()))
        scores = remaining_mean(self.group.population, self.count, float(self.proxy.sum()))
        left = scores.constant + scores.slope * (self.group.proxy_mean or 0.0)
        return size * (asked.constant - weight * left + weight) / (1 + weight)


@dataclass
class LinearSequence:
    """Interval of the sum over groups of coefficient * mean, after each round.

    The groups' units are drawn independently of each other, each in a random order without
    replacement, and are numbers in 0 to 1. A round has units of every group. Sizes of a round may
    depend on earlier rounds only. A group whose units all have a proxy score, with a known mean,
    is estimated as in `prediction_powered.py`.

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
        self._seen = [_Seen(each) for each in self.groups]
        self._ends = self._certain()

    def add(
        self,
        values: Sequence[npt.ArrayLike],
        proxies: Sequence[npt.ArrayLike] | None = None,
    ) -> Interval:
        """The interval after another round.

        Args:
            values: (n,) numbers of each group, 0 to 1, in the order of `groups`.
            proxies: (n,) proxy scores of the same units, 0 to 1; empty for a group without
                `proxy_mean`. None if no group has one.

        Raises:
            ValueError: a number is NaN or beyond 0 to 1, a group has no unit in this round though
                it has some left, or more than its population has; scores are missing.
        """
        given = [numbers_in(each, 0, 1, "values") for each in values]
        if len(given) != len(self.groups):
            raise ValueError(f"there are {len(self.groups)} groups; got numbers of {len(given)}")
        scores = self._scores(given, proxies)
        for seen, new in zip(self._seen, given, strict=True):
            if len(new) > seen.left or (seen.left and not len(new)):
                raise ValueError(
                    f"a round must have 1 to {seen.left} units of a group; got {len(new)}"
                )
        if any(map(len, given)):
            self._bet(given, scores)
        return self.interval()

    def interval(self) -> Interval:
        """The interval so far."""
        estimate = self._estimate()
        if not math.isnan(estimate):
            estimate = min(max(estimate, self._ends[0]), self._ends[1])
        return Interval(estimate, *self._ends, sum(each.count for each in self._seen))

    def deviations(self) -> Floats:
        """(groups,) standard deviations of what is left to estimate, for `neyman`; never 0."""
        return np.array([math.sqrt(each.variance(each.weight())) for each in self._seen])

    def _scores(
        self, given: Sequence[Floats], proxies: Sequence[npt.ArrayLike] | None
    ) -> list[Floats]:
        if proxies is None:
            proxies = [()] * len(given)
        if len(proxies) != len(given):
            raise ValueError(f"there are {len(given)} groups; got scores of {len(proxies)}")
        scores = []
        for group, new, proxy in zip(self.groups, given, proxies, strict=True):
            known = group.proxy_mean is not None
            each = numbers_in(proxy, 0, 1, "proxies")
            if len(each) != (len(new) if known else 0):
                raise ValueError(
                    f"a group with proxy_mean needs a score for each of its {len(new)} units, and "
                    f"one without it none; got {len(each)}"
                )
            scores.append(each if known else np.zeros(len(new)))
        return scores

    def _estimate(self) -> float:
        return float(
            sum(each.group.coefficient * each.estimate(each.weight()) for each in self._seen)
        )

    def _bet(self, given: Sequence[Floats], scores: Sequence[Floats]) -> None:
        sizes = [len(each) for each in given]
        weights = [each.weight() for each in self._seen]
        bets = self._aimed(sizes, weights) * _FACTORS
        for seen, size, weight in zip(self._seen, sizes, weights, strict=True):
            if size:
                bets = np.minimum(bets, _LARGEST_BET / seen.unit_bet(size, weight))
        numbers = [
            (new - weight * proxy + weight) / (1 + weight)
            for new, proxy, weight in zip(given, scores, weights, strict=True)
        ]
        for side, exponents in zip((1, -1), self._sides, strict=True):
            constants = np.zeros(len(bets))
            for seen, each, weight in zip(self._seen, numbers, weights, strict=True):
                constants += _exponent(seen, each, weight, side, bets)
            # Log capital = constant - slope * sum of means.
            exponents.append((constants, side * bets))
        for seen, new, proxy in zip(self._seen, given, scores, strict=True):
            seen.reference = np.concatenate([seen.reference, new])
            seen.proxy = np.concatenate([seen.proxy, proxy])
        self._ends = self._intersected()

    def _aimed(self, sizes: Sequence[int], weights: Sequence[float]) -> float:
        """The bet on the sum that gains most at the margin: margin / variance of one round's part.

        In units of the sum; the variance is that of all units up to and with this round.
        """
        variance, total = 0.0, 0
        for seen, size, weight in zip(self._seen, sizes, weights, strict=True):
            count = seen.count + size
            variance += seen.group.coefficient**2 * seen.variance(weight) / count
            total += count
        margin = self.within or math.sqrt(2 * math.log(2 / self.alpha) * variance)
        # In proportion to the size of the round; all rounds together then bet margin / variance.
        return margin / variance * sum(sizes) / total

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
        for seen in self._seen:
            least = float(seen.reference.sum()) / seen.group.population
            most = least + seen.left / seen.group.population
            ends = sorted([seen.group.coefficient * least, seen.group.coefficient * most])
            low, high = low + ends[0], high + ends[1]
        return low, high


def _exponent(seen: _Seen, numbers: Floats, weight: float, side: int, bets: Floats) -> Floats:
    """(bets,) logarithms of a group's capital in a round, without the part of the sum of means."""
    coefficient = seen.group.coefficient
    if not len(numbers):
        # A group whose units were all seen has a known mean.
        return np.asarray(side * coefficient * bets * seen.reference.mean())
    each = bets * seen.unit_bet(len(numbers), weight)
    sign = side if coefficient > 0 else -side
    scaled = (seen.reference - weight * seen.proxy + weight) / (1 + weight)
    guess = (scaled.sum() + 0.5) / (len(scaled) + 1)
    squares = float(((numbers - guess) ** 2).sum())
    gain = float(numbers.sum()) - seen.known_part(len(numbers), weight)
    return np.asarray(each * sign * gain - squares * (-np.log1p(-each) - each))
