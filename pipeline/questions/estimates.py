"""The numbers that a question asks for, after each round."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.answer import Estimated
from pipeline.questions.intervals.asymptotic import RatioSample
from pipeline.questions.intervals.prediction_powered import PredictionPowered
from pipeline.questions.outcomes import Outcomes
from pipeline.questions.question import Question
from pipeline.questions.rounds import Wanted, too_wide
from pipeline.questions.sample import Limits

Floats = npt.NDArray[np.float64]
NumbersOf = Callable[[list[str]], Floats]

_UNKNOWN = (-math.inf, math.inf)


@dataclass(frozen=True)
class Population:
    """What one number is about.

    Attributes:
        label: the class.
        column: its place among the labels that are asked for.
        group: name of the group; "" for all.
        number: of the group; None for all.
        units: units of the population.
        alpha: 1 - confidence of its interval, at all looks.
    """

    label: str
    column: int
    group: str
    number: int | None
    units: int
    alpha: float


@dataclass(frozen=True)
class Sampled:
    """What is known of the units of a sample.

    Attributes:
        outcomes: of n units, in the order of their ids.
        groups: (n,) numbers of their groups.
        limits: of the sample.
    """

    outcomes: Outcomes
    groups: npt.NDArray[np.int64]
    limits: Limits

    def of(self, group: int | None) -> npt.NDArray[np.int64]:
        """Rows of the units of a group, or of those that answer for all units; each later sample
        begins with them.
        """
        keys = self.limits.keys(self.outcomes.unit_ids)
        if group is None:
            rows = np.flatnonzero(keys < self.limits.every.encode())
        else:
            limit = self.limits.groups[group].encode()
            rows = np.flatnonzero((self.groups == group) & (keys < limit))
        return np.asarray(rows[np.argsort(keys[rows], kind="stable")])


class Estimates:
    """The numbers of a question, one per population.

    Args:
        question: what is asked.
        within: half width that is aimed at, on the scale of the estimates.
        populations: of the numbers.
        use_proxy: whether there is a proxy.
        proxy_mean: the mean proxy score of a population, where all of it has scores from the
            beginning; None to estimate it.

    Attributes:
        populations: of the numbers.
        sequences: of each number of a question for a share or a count.
        ratios: what the last round told of each rate or mean; None for other numbers.
    """

    def __init__(
        self,
        question: Question,
        within: float,
        populations: list[Population],
        *,
        use_proxy: bool,
        proxy_mean: Callable[[Population], float] | None = None,
    ) -> None:
        self._kind = question.kind
        self.populations = populations
        self._seen = [(0, 0)] * len(populations)
        self.sequences = [
            PredictionPowered(
                population=each.units,
                alpha=each.alpha,
                within=within if question.kind in ("share", "count") else None,
                proxy_mean=None if proxy_mean is None else proxy_mean(each),
                use_proxy=use_proxy,
            )
            for each in populations
        ]
        self.ratios: list[RatioSample | None] = [None] * len(populations)
        self._now = [
            Estimated(each.label, each.group, math.nan, *_UNKNOWN, each.units)
            for each in populations
        ]

    def add(self, reference: Sampled, proxy: Sampled | None, numbers_of: NumbersOf | None) -> None:
        """Takes the units of the rounds so far, which hold those of earlier rounds.

        Args:
            reference: units with the labels that count.
            proxy: those units and further ones, with the proxy's scores; None without a proxy.
            numbers_of: the number of each of some videos, of a question for a mean.
        """
        if self._kind in ("rate", "mean"):
            outcomes = reference.outcomes
            numbers = None if numbers_of is None else numbers_of(list(outcomes.video_ids))
            for place, each in enumerate(self.populations):
                sample = _ratio(each, reference, numbers)
                before = self._now[place]
                found = sample.interval(each.alpha).since(before.low, before.high)
                self._now[place] = dataclasses.replace(
                    before,
                    value=found.estimate,
                    low=found.low,
                    high=found.high,
                    seen=found.count,
                )
                self.ratios[place] = sample
            return
        for place, each in enumerate(self.populations):
            seen, scored = self._seen[place]
            rows = reference.of(each.number)
            labels = reference.outcomes.found[rows[seen:], each.column]
            scores, scored_rows = np.empty(0), np.empty(0, np.int64)
            if proxy is not None:
                scored_rows = proxy.of(each.number)
                scores = proxy.outcomes.scores[scored_rows[scored:], each.column]
            look = self.sequences[place].add(labels, scores)
            self._now[place] = Estimated(
                each.label,
                each.group,
                look.estimate,
                look.low,
                look.high,
                each.units,
                look.references,
                look.weight,
            )
            self._seen[place] = len(rows), len(scored_rows)
        for place, each in enumerate(self.populations):
            if each.number is None and (groups := self._groups_of(each)):
                self._now[place] = _of_groups(self._now[place], groups)

    def _groups_of(self, population: Population) -> list[Estimated]:
        """The numbers of the groups that make up a population of all units."""
        pairs = zip(self.populations, self._now, strict=True)
        return [
            now
            for each, now in pairs
            if each.number is not None and each.column == population.column
        ]

    def wanted(self, within: float) -> list[Wanted]:
        """The intervals that are to grow, where one has a larger half width than `within`."""
        wide = [now.half_width > within for now in self._now]
        if any(sequence.proxy_means is not None for sequence in self.sequences):
            wide = too_wide([each.expected_half_width() for each in self.sequences], within)
        rows = zip(self.populations, self._now, self.sequences, wide, strict=True)
        return [
            Wanted(each.number, *sequence.pairs(), each.units, each.alpha, now.half_width, within)
            for each, now, sequence, grows in rows
            if grows
        ]

    def now(self) -> tuple[Estimated, ...]:
        """The numbers after the last round."""
        return tuple(self._now)


def _of_groups(every: Estimated, groups: list[Estimated]) -> Estimated:
    """The share of all units, to which what is known of each group adds: all intervals hold at
    once, so their sums, weighted by the groups' sizes, bound it too.
    """

    def mean(numbers: Iterable[float]) -> float:
        pairs = zip(numbers, groups, strict=True)
        return math.fsum(number * each.units for number, each in pairs) / every.units

    low = max(every.low, mean(each.low for each in groups))
    high = min(every.high, mean(each.high for each in groups))
    if low > high:  # an interval misses its number, which alpha allows for
        low = high = (low + high) / 2
    value = mean(each.value for each in groups)
    if math.isnan(value):
        value = every.value
    seen = sum(each.seen for each in groups)
    return dataclasses.replace(
        every, value=min(max(value, low), high), low=low, high=high, seen=seen
    )


def _ratio(population: Population, reference: Sampled, numbers: Floats | None) -> RatioSample:
    rows, outcomes = reference.of(population.number), reference.outcomes
    parts, wholes = outcomes.clips[rows, population.column], outcomes.hours[rows]
    if numbers is not None:
        known = np.isfinite(numbers[rows])
        wholes = np.where(known, outcomes.found[rows, population.column], 0.0)
        parts = np.where(known, numbers[rows], 0.0) * wholes
    return RatioSample.of(parts, wholes, population=population.units)
