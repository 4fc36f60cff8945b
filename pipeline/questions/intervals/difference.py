"""One interval of the difference of two populations' means, valid at every look.

Where both sides are alike it is 1.4 times as wide as one of their own intervals; two intervals that
are subtracted are twice as wide. It looks for the pairs of means that `joint_capital.py` leaves
within both own intervals, so it is never wider than these subtracted. Of mean proxy scores that are
estimated, it takes both own intervals and one of their difference, which has a tenth of alpha; the
values that are worst give its ends. Weights of a proxy are those of `prediction_powered.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.questions.intervals.confidence_sequence import Interval, check_alpha
from pipeline.questions.intervals.joint_capital import JointCapital, Side
from pipeline.questions.intervals.pairs import PROXY_ALPHA_SHARE
from pipeline.questions.intervals.prediction_powered import PredictionPowered

DIFFERENCE_ALPHA_SHARE = 0.8
"""Part of alpha for the difference; each side's own interval has half of the rest."""


@dataclass
class Difference:
    """Interval of the mean of one population less that of another, after each round.

    Add rounds to both populations, then `look`. A round counts for the difference where both have
    units in it, or one was seen in full before. Its sizes may depend on pairs of earlier rounds of
    both. The interval and both own intervals hold at once, with an alpha that is the sum of three.

    Args:
        one: the first population, without rounds yet.
        other: the second, drawn independently of the first.
        alpha: 1 - confidence of the difference, for all looks together.
        within: half width at which one will stop; None aims at each round's own size.
    """

    one: PredictionPowered
    other: PredictionPowered
    alpha: float = 0.05
    within: float | None = None

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.within is not None and not self.within > 0:
            raise ValueError(f"within must be above 0; got {self.within:g}")
        if self.one.rounds or self.other.rounds:
            raise ValueError("a difference must be made before its populations have rounds")
        estimated = not (self.one.proxy_means is None and self.other.proxy_means is None)
        share = PROXY_ALPHA_SHARE * estimated
        self._references = JointCapital(self.alpha * (1 - share), self.within)
        self._proxies = JointCapital(self.alpha * share) if estimated else None

    def look(self) -> Interval:
        """The interval so far; `count` is the references of both."""
        proxies = (-1.0, 1.0)
        if self._proxies is not None:
            proxies = self._proxies.add(_scores(self.one), _scores(self.other))
        sides = _references(self.one), _references(self.other)
        low, high = self._references.add(*sides, proxies)
        estimate = sides[0].estimate - sides[1].estimate
        count = sum(each.look().references for each in (self.one, self.other))
        # NaN, before both have a reference, stays.
        return Interval(max(min(estimate, high), low), low, high, count)


def _references(population: PredictionPowered) -> Side:
    found = population.look()
    return Side(
        rounds=population.rounds,
        estimate=found.estimate,
        mean=(found.low, found.high),
        proxy=population.proxy_mean_ends(),
        is_complete=found.references == population.population,
    )


def _scores(population: PredictionPowered) -> Side:
    """The proxy scores as numbers of their own; a known mean is that of a complete population."""
    ends = population.proxy_mean_ends()
    if population.proxy_means is None:
        return Side((), ends[0], ends, (0.0, 0.0), True)
    found = population.proxy_means.interval()
    complete = found.count == population.population
    return Side(population.proxy_means.rounds, found.estimate, ends, (0.0, 0.0), complete)
