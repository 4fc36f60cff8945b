"""Capital of bets on the difference of two populations' means, round by round.

Capital that bets on the first mean being larger, and on the second one being smaller, than those
of a candidate pair (m, m'),

    product over rounds of (1 + bet * (x - mu)) over units of the first
                         * (1 - bet' * (y - mu')) over units of the second,

has an expectation of at most 1 at the true pair, as each factor of `capital.py` has. It excludes a
difference if it excludes all pairs with this difference. Bets in proportion to what a unit counts
for leave, to first order, the difference alone in the logarithm, so that the two deviations add as
a sum of squares.

The logarithm is concave in m, m' and both mean proxy scores, on which mu and mu' depend linearly.
Over a polytope of candidates it is therefore least at a corner, so that few corners tell whether a
difference is excluded, without a grid.

After I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, JRSS-B
2024, theorem 3, for each candidate pair.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.questions.intervals.capital import Histogram, Round

Floats = npt.NDArray[np.float64]
Ends = tuple[float, float]
Pair = tuple[Round | None, Round | None]

# Bets on the difference, as multiples of the one that is aimed at.
_FACTORS = np.concatenate([[0.6, 1.0, 1.6], 3.0 ** np.arange(-4, 5)])
_LOG_WEIGHTS = np.log(np.concatenate([[0.2, 0.4, 0.2], np.full(9, 0.2 / 9)]))
# Multiples of the bet that a normal distribution asks for; skewed numbers ask for others.
_CANDIDATES = np.geomspace(0.1, 10, 41)
# Share of the capital that one unit can lose.
_MOST_RISK = 0.95
_LEAST_MEAN = 1e-6
_HALVINGS = 14


@dataclass(frozen=True)
class Side:
    """What is known of one population.

    Attributes:
        rounds: its rounds so far.
        estimate: of its mean.
        mean: its own interval of the mean.
        proxy: that of the mean proxy score; both ends are equal where it is known.
        is_complete: whether all its units were seen.
    """

    rounds: Sequence[Round]
    estimate: float
    mean: Ends
    proxy: Ends
    is_complete: bool


@dataclass
class JointCapital:
    """Interval of the first mean less the second, given intervals of both.

    Args:
        alpha: 1 - confidence, beside that of the intervals given.
        within: half width at which one will stop; None aims at each round's own size.
    """

    alpha: float
    within: float | None = None

    def __post_init__(self) -> None:
        self._forth, self._back = _LowEnd(), _LowEnd()
        self._ends = (-1.0, 1.0)
        self._precision = 0.0
        self._taken = (0, 0)
        unknown = Side((), math.nan, (0.0, 1.0), (0.0, 1.0), False)
        self._before = (unknown, unknown)

    def add(self, one: Side, other: Side, proxies: Ends = (-1.0, 1.0)) -> Ends:
        """The interval after further rounds.

        A round counts where both sides have units in it, or one was complete before.

        Args:
            one, other: both sides, with all rounds so far.
            proxies: interval of the difference of the mean proxy scores.
        """
        sides = (one, other)
        new = (one.rounds[self._taken[0] :], other.rounds[self._taken[1] :])
        for pair in itertools.zip_longest(*new):
            self._bet(pair, sides)
        self._taken, self._before = (len(one.rounds), len(other.rounds)), sides
        low = max(self._ends[0], one.mean[0] - other.mean[1])
        high = min(self._ends[1], one.mean[1] - other.mean[0])
        middle = one.estimate - other.estimate
        if not math.isnan(middle):
            middle = min(max(middle, low), high)
            limit = math.log(2 / self.alpha)
            low = self._forth.end(one, other, proxies[0], (low, middle), limit)
            high = -self._back.end(other, one, -proxies[1], (-high, -middle), limit)
        # Both ends cross only if an interval misses, which alpha allows for.
        self._ends = (low, high) if low <= high else ((low + high) / 2,) * 2
        return self._ends

    def _bet(self, pair: Pair, sides: tuple[Side, Side]) -> None:
        variance = 0.0
        for each, side in zip(pair, sides, strict=True):
            if each is not None:
                variance += each.expected.variance() / _reach(each) / each.mean.slope
            elif not side.is_complete:
                return
        # Rounds are weighted by what each tells of the difference by itself.
        self._precision += 1 / variance
        margin = self.within or math.sqrt(2 * math.log(2 / self.alpha) / self._precision)
        one, other = self._before
        self._forth.bet(pair, (one, other), margin, variance)
        self._back.bet(pair[::-1], (other, one), margin, variance)


class _LowEnd:
    """Capital against differences, of a first side less a second, that are too small."""

    def __init__(self) -> None:
        self._gains = (_Gains(1), _Gains(-1))

    def bet(self, pair: Pair, before: tuple[Side, Side], margin: float, variance: float) -> None:
        """Adds a round with bets from earlier rounds only.

        Args:
            pair: the rounds of both sides.
            before: what was known of both before this round.
            margin: half width that is aimed at.
            variance: expected, of the difference that the round gives by itself.
        """
        largest = math.inf
        numbers: list[tuple[Histogram, float, float]] = []
        for number, (each, side) in enumerate(zip(pair, before, strict=True)):
            if each is None:
                continue
            # The same bet for all candidates keeps the logarithm concave.
            far = np.array([side.mean[1 - number]])
            most = float(each.mean.at(far, side.proxy[number])[0])
            most = max(min(1 - most if number else most, 1.0), _LEAST_MEAN)
            largest = min(largest, _MOST_RISK / most * _reach(each))
            expected = each.expected.mirrored() if number else each.expected
            part = each.expected.variance() / _reach(each) / each.mean.slope / variance
            mean = expected.mean()
            # A mean below a quarter is out of reach of a relative margin that can be had.
            against = max(mean - margin * part * each.mean.slope, mean / 4)
            numbers.append((expected, min(against, most), _reach(each)))
        candidates = np.minimum(margin / variance * _CANDIDATES, largest)
        growth = np.zeros(len(candidates))
        for (expected, against, reach), each in zip(numbers, filter(None, pair), strict=True):
            logs = expected.log_products(np.array([against]), (candidates / reach)[None])[0]
            growth += logs * each.count / expected.weights.sum()
        bets = np.minimum(candidates[np.argmax(growth)] * _FACTORS, largest)
        for gains, each in zip(self._gains, pair, strict=True):
            if each is not None:
                gains.add(each, bets)

    def end(self, one: Side, other: Side, proxies: float, ends: Ends, limit: float) -> float:
        """The lower end, between two `ends` (outer, inner).

        Each pair of a difference has pairs of any larger difference, within both intervals, with
        less capital: a larger first mean or a smaller second one. So differences up to the lowest
        that is not excluded are all excluded. The same holds of the mean proxy scores, the other
        way round, so that their lowest difference is the worst.

        Args:
            one, other: both sides.
            proxies: lower end of the difference of mean proxy scores.
            ends: of what is searched.
            limit: logarithm of the capital that excludes.
        """
        outer, inner = ends
        scores = _segment(one.proxy, other.proxy, max(proxies, one.proxy[0] - other.proxy[1]))
        if self._excludes(outer, one, other, scores, limit):
            for _ in range(_HALVINGS):
                middle = (outer + inner) / 2
                excluded = self._excludes(middle, one, other, scores, limit)
                outer, inner = (middle, inner) if excluded else (outer, middle)
        return outer

    def _excludes(
        self, difference: float, one: Side, other: Side, scores: Floats, limit: float
    ) -> bool:
        means = _segment(one.mean, other.mean, difference)
        total = np.zeros((4, len(_FACTORS)))
        for gains, mean, score in zip(self._gains, means, scores, strict=True):
            total += gains.logs(np.repeat(mean, 2), np.tile(score, 2))
        return bool(np.logaddexp.reduce(_LOG_WEIGHTS + total.min(axis=0)) >= limit)


@dataclass
class _Gains:
    """A side's part of the capital: grid points of all rounds, one after the other.

    Attributes:
        sign: 1 for bets on a larger mean, -1 for a smaller one.
        lines: (3, points) constant, slope and slope in the mean proxy score of what was left.
        values: (points,) grid points.
        weights: (points,) units at each.
        bets: (bets, points) on a unit.
    """

    sign: int
    lines: Floats = field(default_factory=lambda: np.empty((3, 0)))
    values: Floats = field(default_factory=lambda: np.empty(0))
    weights: Floats = field(default_factory=lambda: np.empty(0))
    bets: Floats = field(default_factory=lambda: np.empty((len(_FACTORS), 0)))

    def add(self, each: Round, bets: Floats) -> None:
        """Adds a round with `bets` on the difference."""
        points = np.ones(len(each.numbers.values))
        line = np.array([each.mean.constant, each.mean.slope, each.mean.nuisance_slope])
        self.lines = np.hstack([self.lines, np.outer(line, points)])
        self.values = np.concatenate([self.values, each.numbers.values])
        self.weights = np.concatenate([self.weights, each.numbers.weights])
        self.bets = np.hstack([self.bets, np.outer(self.sign * bets / _reach(each), points)])

    def logs(self, means: Floats, proxies: Floats) -> Floats:
        """(corners, bets) logarithms at `means` and `proxies`, both (corners,); -inf where a bet
        is larger than a mean allows.
        """
        constant, slope, proxy_slope = self.lines
        left = constant + slope * means[:, None] + proxy_slope * proxies[:, None]
        gains = self.bets * (self.values - left)[:, None]
        with np.errstate(divide="ignore"):
            return np.asarray(np.log1p(np.maximum(gains, -1.0)) @ self.weights)


def _reach(each: Round) -> float:
    """Bet on the difference over the bet on each unit."""
    return each.count * each.mean.slope


def _segment(one: Ends, other: Ends, difference: float) -> Floats:
    """(side, end) of the numbers with this difference, within both intervals."""
    low = max(one[0], other[0] + difference)
    high = min(one[1], other[1] + difference)
    return np.array([[low, high], [low - difference, high - difference]])
