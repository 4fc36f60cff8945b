"""The numbers that a question asks for, after each round."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.answer import Estimated
from pipeline.questions.asymptotic import ratio
from pipeline.questions.outcomes import Outcomes
from pipeline.questions.prediction_powered import PredictionPowered
from pipeline.questions.question import Question
from pipeline.questions.rounds import Wanted

Floats = npt.NDArray[np.float64]
NumbersOf = Callable[[list[str]], Floats]
GroupsOf = Callable[[list[str]], npt.NDArray[np.int64]]

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


class Estimates:
    """The numbers of a question, one per population.

    Args:
        question: what is asked.
        within: half width that is aimed at, on the scale of the estimates.
        populations: of the numbers.
        use_proxy: whether there is a proxy.
    """

    def __init__(
        self,
        question: Question,
        within: float,
        populations: list[Population],
        *,
        use_proxy: bool,
    ) -> None:
        self._kind = question.kind
        self._populations = populations
        self._seen = (0, 0)
        self._sequences = [
            PredictionPowered(
                population=each.units,
                alpha=each.alpha,
                within=within if question.kind in ("share", "count") else None,
                use_proxy=use_proxy,
            )
            for each in populations
        ]
        self._now = [
            Estimated(each.label, each.group, math.nan, *_UNKNOWN, each.units)
            for each in populations
        ]

    def add(
        self,
        reference: Outcomes,
        proxy: Outcomes | None,
        groups_of: GroupsOf,
        numbers_of: NumbersOf | None,
    ) -> None:
        """Takes the units of the rounds so far; the first of them are those of earlier rounds.

        Args:
            reference: units with the labels that count, in the order of their ids.
            proxy: those units and further ones in that order, with the proxy's scores; None without
                a proxy.
            groups_of: the group of each of some videos.
            numbers_of: the number of each of some videos, of a question for a mean.
        """
        groups = groups_of(list(reference.video_ids))
        if self._kind in ("rate", "mean"):
            numbers = None if numbers_of is None else numbers_of(list(reference.video_ids))
            self._now = [
                self._ratio(each, before, reference, groups, numbers)
                for each, before in zip(self._populations, self._now, strict=True)
            ]
            return
        first, first_scored = self._seen
        new = np.arange(len(reference)) >= first
        if proxy is not None:
            scored = np.arange(len(proxy)) >= first_scored
            groups_of_scored = groups_of(list(proxy.video_ids))
        for place, each in enumerate(self._populations):
            found = reference.found[new & _within_group(groups, each), each.column]
            scores: Floats = np.empty(0)
            if proxy is not None:
                rows = scored & _within_group(groups_of_scored, each)
                scores = proxy.scores[rows, each.column]
            look = self._sequences[place].add(found, scores)
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
        self._seen = (len(reference), 0 if proxy is None else len(proxy))

    def wider_than(self, within: float) -> list[Wanted]:
        """The intervals with a larger half width."""
        found = []
        for each, now, sequence in zip(self._populations, self._now, self._sequences, strict=True):
            if now.half_width > within:
                reference, scores = sequence.pairs()
                found.append(Wanted(reference, scores, each.units, each.alpha, now.half_width))
        return found

    def now(self) -> tuple[Estimated, ...]:
        """The numbers after the last round."""
        return tuple(self._now)

    def _ratio(
        self,
        population: Population,
        before: Estimated,
        reference: Outcomes,
        groups: npt.NDArray[np.int64],
        numbers: Floats | None,
    ) -> Estimated:
        rows = _within_group(groups, population)
        parts, wholes = reference.clips[rows, population.column], reference.hours[rows]
        if numbers is not None:
            known = np.isfinite(numbers[rows])
            wholes = np.where(known, reference.found[rows, population.column], 0.0)
            parts = np.where(known, numbers[rows], 0.0) * wholes
        found = ratio(parts, wholes, population=population.units, alpha=population.alpha)
        return dataclasses.replace(
            before,
            value=found.estimate,
            low=max(found.low, before.low),
            high=min(found.high, before.high),
            seen=found.count,
        )


def _within_group(groups: npt.NDArray[np.int64], population: Population) -> npt.NDArray[np.bool_]:
    if population.number is None:
        return np.ones(len(groups), np.bool_)
    return np.asarray(groups == population.number)


def difference(one: Estimated, other: Estimated) -> Estimated:
    """One number less another of another population; both intervals hold at once."""
    return Estimated(
        one.label,
        one.group,
        one.value - other.value,
        one.low - other.high,
        one.high - other.low,
        one.units,
    )
