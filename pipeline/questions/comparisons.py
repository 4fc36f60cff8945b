"""Differences of a question's numbers: of two inputs, or of two groups of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.questions.answer import Estimated
from pipeline.questions.asymptotic import ratio_difference
from pipeline.questions.contributions import Contribution, contributed
from pipeline.questions.difference import Difference
from pipeline.questions.estimates import Estimates
from pipeline.questions.pairs import PairMoments
from pipeline.questions.question import Kind
from pipeline.questions.rounds import Wanted


@dataclass(frozen=True)
class Pair:
    """Two numbers of the same label.

    Attributes:
        label: the class.
        group: of both; "" for all units, and ONE less OTHER for two groups.
        one: place of the first among the numbers of the first side.
        other: place of the second among those of the second side.
    """

    label: str
    group: str
    one: int
    other: int


def of_inputs(one: Estimates, other: Estimates) -> list[Pair]:
    """Each label and each group that both inputs have."""
    places = {(each.label, each.group): place for place, each in enumerate(other.populations)}
    return [
        Pair(each.label, each.group, place, places[each.label, each.group])
        for place, each in enumerate(one.populations)
        if (each.label, each.group) in places
    ]


def of_groups(estimates: Estimates) -> list[Pair]:
    """Each label, of estimates that have two groups of each."""
    made, numbers = [], list(enumerate(estimates.populations))
    for (place, one), (next_place, other) in zip(numbers[::2], numbers[1::2], strict=True):
        made.append(Pair(one.label, f"{one.group} less {other.group}", place, next_place))
    return made


class Comparisons:
    """The differences, after each round.

    Args:
        kind: of the question.
        sides: estimates of both sides, without rounds yet; the same twice for groups of one input.
        pairs: what is compared.
        within: half width that is wanted.
        alpha: 1 - confidence of all differences together.
    """

    def __init__(
        self,
        kind: Kind,
        sides: tuple[Estimates, Estimates],
        pairs: Sequence[Pair],
        *,
        within: float,
        alpha: float,
    ) -> None:
        self._sides, self._pairs, self._within = sides, pairs, within
        self._alpha = alpha / len(pairs)
        self._differences = None
        if kind in ("share", "count"):
            self._differences = [
                Difference(
                    sides[0].sequences[each.one],
                    sides[1].sequences[each.other],
                    alpha=self._alpha,
                    within=within,
                )
                for each in pairs
            ]
        self._now = [self._unknown(each) for each in pairs]

    def look(self) -> tuple[Estimated, ...]:
        """The differences after another round of both sides."""
        self._now = [self._looked(place) for place in range(len(self._pairs))]
        return tuple(self._now)

    def wanted(self) -> tuple[list[Wanted], list[Wanted]]:
        """What each side still has to tell for differences that are too wide. Both sides grow with
        each of them: a round of one side alone tells little of a difference.
        """
        found: tuple[list[Wanted], list[Wanted]] = ([], [])
        for pair, now in zip(self._pairs, self._now, strict=True):
            if now.half_width <= self._within:
                continue
            places = (pair.one, pair.other)
            parts = [self._part(*each) for each in zip(self._sides, places, strict=True)]
            halves = ((now.half_width, self._within / math.sqrt(2)),) * 2
            if all(each.seen for each in parts):
                halves = contributed((parts[0], parts[1]), now.half_width, self._within)
            given = zip(self._sides, places, parts, halves, found, strict=True)
            for side, place, part, (width, aim), wanted in given:
                if part.seen < part.units:
                    numbers = side.sequences[place].pairs()
                    group = side.populations[place].number
                    wanted.append(Wanted(group, *numbers, part.units, self._alpha, width, aim))
        return found

    def _looked(self, place: int) -> Estimated:
        pair, before = self._pairs[place], self._now[place]
        if self._differences is not None:
            found = self._differences[place].look()
        else:
            one, other = self._sides[0].ratios[pair.one], self._sides[1].ratios[pair.other]
            assert one is not None
            assert other is not None
            found = ratio_difference(one, other, alpha=self._alpha)
        return Estimated(
            pair.label,
            pair.group,
            found.estimate,
            max(found.low, before.low),
            min(found.high, before.high),
            before.units,
            found.count,
        )

    def _part(self, side: Estimates, place: int) -> Contribution:
        units = side.populations[place].units
        ratio = side.ratios[place]
        if ratio is not None:
            return Contribution(ratio.deviation**2, units, ratio.count)
        pairs = side.sequences[place].pairs()
        return Contribution(PairMoments.of(*pairs).least_variance(), units, len(pairs[0]))

    def _unknown(self, pair: Pair) -> Estimated:
        units = self._sides[0].populations[pair.one].units
        units += self._sides[1].populations[pair.other].units
        return Estimated(pair.label, pair.group, math.nan, -math.inf, math.inf, units)
