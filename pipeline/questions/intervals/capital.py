"""Capital of bets on the mean of bounded numbers, round by round.

A round is a set of units drawn without replacement from what is left of a population. If the mean
of what is left is mu, then for a bet chosen before the round,

    product over the round of (1 + bet * (x - mu))

has an expectation of at most 1: with replacement it is 1, and W. Hoeffding (Probability
inequalities for sums of bounded random variables, 1963, theorem 4) shows that drawing without
replacement makes no convex function of a sum larger. The product over all rounds is then a
supermartingale, which by Ville's inequality reaches 1 / alpha with probability alpha at most, at
whatever round one stops. A mean at which it does is excluded (I. Waudby-Smith and A. Ramdas,
Estimating means of bounded random variables by betting, JRSS-B 2024).

The order within a round does not matter, so a round is held as a histogram. A number between two
grid points is split between both with its mean kept; the logarithm is concave, so that this makes
the capital smaller, and the interval wider, never narrower.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Side = Literal["low", "high"]

BINS = 256
# Share of the capital that one unit can lose.
_MOST_RISK = 0.99
# Bets for looks at which no aimed bet is right, as geometric steps.
_SPREAD_BETS = 3.0 ** np.arange(-5, 5)
_AIMED_SHARE = 0.8
_AIMED_FACTORS = (0.6, 1.0, 1.6)
_CANDIDATE_BETS = np.geomspace(1e-3, 1e3, 49)
# Of a mean of what is left; a floor under it makes the capital smaller.
_ROUNDING = 1e-6
_SECTIONS = 16
_REFINEMENTS = 3


@dataclass(frozen=True)
class Histogram:
    """Numbers in 0 to 1 as weights of grid points; `values` and `weights` are (bins,) float64."""

    values: Floats
    weights: Floats

    @classmethod
    def of(cls, numbers: Floats) -> Histogram:
        """The histogram of `numbers` (n,), each 0 to 1, split between neighboring grid points."""
        places = numbers * BINS
        below = np.minimum(places.astype(np.int64), BINS - 1)
        above_share = places - below
        weights = np.bincount(below, 1 - above_share, BINS + 1)
        weights += np.bincount(below + 1, above_share, BINS + 1)
        used = np.flatnonzero(weights)
        return cls(used / BINS, weights[used].astype(np.float64))

    def mean(self) -> float:
        """The mean, which splitting keeps."""
        return float(self.values @ self.weights / self.weights.sum())

    def log_products(self, means: Floats, bets: Floats) -> Floats:
        """(means, bets) logarithms of the product of 1 + bet * (x - mean); `bets` broadcasts."""
        gains = bets[..., None] * (self.values - means[:, None, None])
        return np.asarray(np.log1p(gains) @ self.weights)

    def variance(self) -> float:
        """The variance, a little more than before splitting."""
        squares = (self.values - self.mean()) ** 2
        return float(squares @ self.weights / self.weights.sum())

    def mirrored(self) -> Histogram:
        """The histogram of 1 - x."""
        return Histogram(1 - self.values, self.weights)


@dataclass(frozen=True)
class RoundMean:
    """Mean of what is left before a round, on the scale of the round: `constant` + `slope` * m +
    `nuisance_slope` * nuisance, where m is the mean that is asked for.
    """

    constant: float
    slope: float
    nuisance_slope: float = 0.0

    def at(self, means: Floats, nuisance: float | Floats) -> Floats:
        """Its value for each of `means` (n,); `nuisance` is one for all, or (n,)."""
        return np.asarray(self.constant + self.nuisance_slope * nuisance + self.slope * means)


@dataclass(frozen=True)
class Round:
    """A round as other bets than those on its own mean take it; see `difference.py`.

    Attributes:
        numbers: of its units, 0 to 1.
        mean: of what was left before it.
        count: its units.
        expected: numbers to expect, from earlier rounds alone; see `expected_numbers`.
    """

    numbers: Histogram
    mean: RoundMean
    count: int
    expected: Histogram


@dataclass
class Capital:
    """Capital against means that are too small (side "low") or too large ("high").

    Every function is monotone in the mean, so that each side has one end.
    """

    side: Side
    _rounds: list[tuple[Histogram, RoundMean, Floats]] = field(default_factory=list)

    def add(self, numbers: Histogram, mean: RoundMean, aimed_bet: float) -> None:
        """Adds a round; `aimed_bet` must come from earlier rounds only."""
        bets = np.concatenate([_SPREAD_BETS, aimed_bet * np.array(_AIMED_FACTORS)])
        side = numbers if self.side == "low" else numbers.mirrored()
        self._rounds.append((side, mean, bets))

    def logs(self, means: Floats, nuisance: float = 0.0) -> Floats:
        """(n,) logarithms of the capital against each of `means` (n,); inf where impossible."""
        total = np.zeros((len(means), len(_LOG_WEIGHTS)))
        impossible = np.zeros(len(means), bool)
        for numbers, line, bets in self._rounds:
            left = line.at(means, nuisance)
            left = left if self.side == "low" else 1 - left
            impossible |= left < -_ROUNDING
            safe = np.maximum(left, _ROUNDING)
            capped = np.minimum(bets, _MOST_RISK / safe[:, None])
            total += numbers.log_products(safe, capped)
        mixed = np.logaddexp.reduce(total + _LOG_WEIGHTS, axis=1)
        return np.where(impossible, np.inf, mixed)

    def end(self, outer: float, inner: float, log_limit: float, nuisance: float = 0.0) -> float:
        """The end of the interval of this side, between `outer` and `inner`.

        Means from `outer` on are excluded as long as the capital against them reaches the limit.
        The result is on the outer side of the exact end, by a 4,000th of the distance at most.
        """
        for _ in range(_REFINEMENTS):
            means = np.linspace(outer, inner, _SECTIONS + 1)
            excluded = self.logs(means, nuisance) >= log_limit
            if not excluded[0]:
                return outer
            first_kept = int(np.argmin(excluded)) if not excluded.all() else _SECTIONS
            outer, inner = float(means[first_kept - 1]), float(means[first_kept])
        return outer


_LOG_WEIGHTS = np.log(
    np.concatenate(
        [
            np.full(len(_SPREAD_BETS), (1 - _AIMED_SHARE) / len(_SPREAD_BETS)),
            _AIMED_SHARE * np.array([0.25, 0.5, 0.25]),
        ]
    )
)


def aimed_bets(seen: Floats, margin: float) -> tuple[float, float]:
    """Bets that would have gained most on numbers seen, against means `margin` away from theirs.

    Args:
        seen: numbers of earlier rounds, 0 to 1.
        margin: half width that is wanted, on the same scale, above 0.

    Returns:
        The bet against means that are too small, and the one against means that are too large.
    """
    if not len(seen):
        # The largest variance there is: too large a bet is lost for all rounds to come.
        return (4 * margin,) * 2
    numbers = Histogram.of(np.asarray(seen, np.float64))
    return _aimed(numbers, margin), _aimed(numbers.mirrored(), margin)


def _aimed(numbers: Histogram, margin: float) -> float:
    smoothed = _smoothed(numbers)
    # A mean below half of the seen one is out of reach of a relative margin that can be had.
    mean = smoothed.mean()
    against = np.array([max(mean - margin, mean / 4)])
    largest = _MOST_RISK / float(against[0])
    bets = np.minimum(_CANDIDATE_BETS, largest)
    gains = smoothed.log_products(against, bets[None])[0]
    return float(bets[np.argmax(gains)])


def expected_numbers(seen: Floats) -> Histogram:
    """Numbers to expect after those `seen` (n,), 0 to 1; without any, zeros and ones."""
    return _smoothed(Histogram.of(np.asarray(seen, np.float64)))


def _smoothed(numbers: Histogram) -> Histogram:
    # Half a unit at each end keeps a bet finite where all numbers are equal.
    values = np.concatenate([numbers.values, [0.0, 1.0]])
    return Histogram(values, np.concatenate([numbers.weights, [0.5, 0.5]]))
