"""Intervals of a mean from few references and many proxy scores, valid at every look.

A reference is what is asked for, such as the label of the unpruned model or of a person; a proxy
is a cheap guess of it. The estimate is

    mean of (reference - weight * proxy) over n units + weight * mean proxy score over N units

(A. N. Angelopoulos et al., Prediction-powered inference, Science 2023, arXiv:2301.09633; the weight
is that of PPI++, arXiv:2311.01453). A wrong proxy makes the interval wider, never invalid. Each
round has its own weight, from earlier pairs only, so that reference - weight * proxy is a bounded
number whose mean over the units that are left is known for each candidate of both means; the bets
of `capital.py` then exclude candidates. The mean proxy score is known, or has an interval of its
own that takes a tenth of alpha: its lower end gives the lower end of the answer, its upper end the
upper one.
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
from pipeline.questions.intervals.confidence_sequence import (
    MeanSequence,
    certain_bounds,
    check_alpha,
    expected_margin,
    numbers_in,
    remaining_mean,
)
from pipeline.questions.intervals.pairs import PROXY_ALPHA_SHARE, PairMoments, Setting

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """An answer after a round.

    Attributes:
        estimate: of the mean of the references over the population; NaN without a reference.
        low, high: interval that holds the mean at all looks together.
        references: units with a reference (n).
        proxies: units whose proxy scores the estimate rests on (N).
        weight: of the proxy in the latest round (lambda); 0 for the plain sample.
    """

    estimate: float
    low: float
    high: float
    references: int
    proxies: int
    weight: float

    @property
    def half_width(self) -> float:
        """Half of the distance between both ends."""
        return (self.high - self.low) / 2


@dataclass
class PredictionPowered:
    """Interval of the mean of references in 0 to 1, after each round.

    Units come in one random order without replacement. The sizes of a round, of references and of
    proxies, may depend on pairs of earlier rounds, never on proxy scores of units that have no
    reference yet.

    Args:
        population: units of the population.
        alpha: 1 - confidence, for all looks together.
        within: half width at which one will stop; None aims at each round's own size.
        proxy_mean: mean proxy score of the whole population, where all of it has scores. None
            estimates it from the scores given.
        use_proxy: False gives the plain sample, and its whole alpha.

    Attributes:
        rounds: those with references, on their own scales.
        proxy_means: interval of the mean proxy score, where it is estimated.
    """

    population: int
    alpha: float = 0.05
    within: float | None = None
    proxy_mean: float | None = None
    use_proxy: bool = True
    _rounds: list[tuple[int, float]] = field(default_factory=list, init=False)
    _ends: tuple[float, float] = field(default=(0.0, 1.0), init=False)
    rounds: list[Round] = field(default_factory=list, init=False)
    proxy_means: MeanSequence | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.population < 1:
            raise ValueError(f"population must be 1 or more; got {self.population}")
        if self.within is not None and not self.within > 0:
            raise ValueError(f"within must be above 0; got {self.within:g}")
        if self.proxy_mean is not None:
            numbers_in([self.proxy_mean], 0, 1, "proxy_mean")
        self._reference = np.empty(0)
        self._proxy = np.empty(0)
        estimated = self.use_proxy and self.proxy_mean is None
        if estimated:
            self.proxy_means = MeanSequence(self.population, self.alpha * PROXY_ALPHA_SHARE)
        self._reference_alpha = self.alpha * (1 - PROXY_ALPHA_SHARE * estimated)
        self._capitals = (Capital("low"), Capital("high"))

    def add(self, reference: npt.ArrayLike, proxy: npt.ArrayLike = ()) -> Look:
        """The answer after another round.

        Args:
            reference: (b,) references of the next b units, 0 to 1.
            proxy: (B,) proxy scores, 0 to 1, of the next B units without one. All references have
                a score then: unit i of all references given is unit i of all scores given. Empty
                without `use_proxy`.

        Raises:
            ValueError: a number is NaN or beyond 0 to 1, units with a reference have no score, or
                there are more units than the population has.
        """
        references = numbers_in(reference, 0, 1, "reference")
        scores = numbers_in(proxy, 0, 1, "proxy")
        if not self.use_proxy:
            scores = np.zeros(len(references))
        self._check_counts(len(references), len(scores))
        before = len(self._reference)
        self._proxy = np.concatenate([self._proxy, scores])
        if self.proxy_means is not None:
            self.proxy_means.add(scores)
        if len(references):
            weight, bets = self._predictable(len(references))
            self._bet(references, weight, bets)
        if before or len(references):
            self._ends = self._intersected()
        return self.look()

    def look(self) -> Look:
        """The answer so far."""
        low, high = self._ends
        weight = self._rounds[-1][1] if self._rounds else 0.0
        proxies = len(self._proxy) if self.proxy_mean is None else self.population
        estimate = min(max(self._estimate(), low), high) if self._rounds else math.nan
        return Look(
            estimate, low, high, len(self._reference), proxies if self.use_proxy else 0, weight
        )

    def pairs(self) -> tuple[Floats, Floats]:
        """(n,) references and (n,) proxy scores of the same units, for `allocation.py`."""
        return self._reference, self._proxy[: len(self._reference)]

    def expected_half_width(self, alpha: float | None = None) -> float:
        """Half width that the pairs so far let expect; sizes of rounds may depend on it.

        `alpha`: None for that of the interval.
        """
        proxies = self.population if self.proxy_mean is not None else len(self._proxy)
        setting = Setting(self.population, alpha or self.alpha, self.within or math.inf, proxies)
        return PairMoments.of(*self.pairs()).expected_half_width(setting)

    def _check_counts(self, references: int, scores: int) -> None:
        total, scored = len(self._reference) + references, len(self._proxy) + scores
        if max(total, scored) > self.population:
            raise ValueError(
                f"the population has {self.population} units; got {max(total, scored)}"
            )
        if total > scored:
            raise ValueError(
                f"each unit with a reference needs a proxy score; got {total} references and "
                f"{scored} scores"
            )

    def _predictable(self, size: int) -> tuple[float, tuple[float, float]]:
        """Weight and bets of the next round, from pairs of earlier rounds only."""
        reference, proxy = self.pairs()
        moments = PairMoments.of(reference, proxy)
        count = len(reference) + size
        proxies = self.population if self.proxy_mean is not None else len(self._proxy)
        margin = self.within or expected_margin(reference, count, self.alpha)
        setting = Setting(self.population, self.alpha, margin, proxies)
        weight = moments.best(setting)[0] if self.use_proxy else 0.0
        margin -= weight * moments.proxy_margin(setting)
        return weight, aimed_bets(_scaled(reference, proxy, weight), margin / (1 + weight))

    def _bet(self, references: Floats, weight: float, bets: tuple[float, float]) -> None:
        before, total = len(self._reference), float(self._reference.sum())
        proxy = self._proxy[before : before + len(references)]
        asked = remaining_mean(self.population, before, total)
        scores = remaining_mean(self.population, before, float(self._proxy[:before].sum()))
        line = RoundMean(
            (asked.constant - weight * scores.constant + weight) / (1 + weight),
            asked.slope / (1 + weight),
            -weight * scores.slope / (1 + weight),
        )
        numbers = Histogram.of(_scaled(references, proxy, weight))
        expected = expected_numbers(_scaled(self._reference, self._proxy[:before], weight))
        self.rounds.append(Round(numbers, line, len(references), expected))
        for capital, bet in zip(self._capitals, bets, strict=True):
            capital.add(numbers, line, bet)
        self._reference = np.concatenate([self._reference, references])
        self._rounds.append((len(references), weight))

    def _estimate(self) -> float:
        sizes, weights = zip(*self._rounds, strict=True)
        reference, proxy = self.pairs()
        weight = np.repeat(weights, sizes)
        scored = self._proxy_mean_estimate()
        return float((reference - weight * (proxy - scored)).mean())

    def _proxy_mean_estimate(self) -> float:
        return float(self._proxy.mean()) if self.proxy_mean is None else self.proxy_mean

    def proxy_mean_ends(self) -> tuple[float, float]:
        """Interval of the mean proxy score; its ends are equal where that is known."""
        if self.proxy_means is None:
            mean = self.proxy_mean or 0.0
            return mean, mean
        found = self.proxy_means.interval()
        return found.low, found.high

    def _intersected(self) -> tuple[float, float]:
        limit = math.log(2 / self._reference_alpha)
        low, high = self._ends
        estimate = min(max(self._estimate(), low), high)
        scores = self.proxy_mean_ends()
        count, total = len(self._reference), float(self._reference.sum())
        certain = certain_bounds(self.population, count, total)
        low = max(low, certain[0], self._capitals[0].end(low, estimate, limit, scores[0]))
        high = min(high, certain[1], self._capitals[1].end(high, estimate, limit, scores[1]))
        # Both ends cross only if the interval misses the mean, which alpha allows for.
        return (low, high) if low <= high else ((low + high) / 2,) * 2


def _scaled(reference: Floats, proxy: Floats, weight: float) -> Floats:
    """(n,) reference - weight * proxy, from its own bounds to 0 to 1."""
    return np.clip((reference - weight * proxy + weight) / (1 + weight), 0.0, 1.0)
