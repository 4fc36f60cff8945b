"""Differences of a question's numbers: of two inputs, or of two groups of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.messages import say
from pipeline.questions.answer import Compared, Estimated, Look, difference_interval, named
from pipeline.questions.contributions import Contribution, contributed, expected_half_width
from pipeline.questions.estimates import Estimates
from pipeline.questions.intervals.asymptotic import ratio_difference
from pipeline.questions.intervals.difference import Difference
from pipeline.questions.intervals.pairs import PairMoments
from pipeline.questions.question import Kind
from pipeline.questions.rounds import Wanted, too_wide


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


def _of_inputs(one: Estimates, other: Estimates) -> list[Pair]:
    """Each label and each group that both inputs have."""
    places = {(each.label, each.group): place for place, each in enumerate(other.populations)}
    return [
        Pair(each.label, each.group, place, places[each.label, each.group])
        for place, each in enumerate(one.populations)
        if (each.label, each.group) in places
    ]


def _of_groups(estimates: Estimates) -> list[Pair]:
    """Each label, of estimates that have two groups of each."""
    made, numbers = [], list(enumerate(estimates.populations))
    for (place, one), (next_place, other) in zip(numbers[::2], numbers[1::2], strict=True):
        made.append(Pair(one.label, f"{one.group} less {other.group}", place, next_place))
    return made


class Comparisons:
    """The differences, after each round.

    Args:
        kind: of the question.
        inputs: estimates of two inputs, or of one that has two groups of each label; without rounds
            yet.
        within: half width that is wanted.
        alpha: 1 - confidence of all differences together.

    Attributes:
        rounds: what was known after each.
    """

    def __init__(
        self, kind: Kind, inputs: Sequence[Estimates], *, within: float, alpha: float
    ) -> None:
        one, other = inputs[0], inputs[-1]
        self._pairs = _of_groups(one) if one is other else _of_inputs(one, other)
        self._inputs, self._sides = inputs, (one, other)
        self._kind, self._within, self._alpha = kind, within, alpha / len(self._pairs)
        self._differences = None
        if kind in ("share", "count"):
            self._differences = [
                Difference(
                    one.sequences[each.one], other.sequences[each.other], self._alpha, within
                )
                for each in self._pairs
            ]
        self._now = [self._unknown(each) for each in self._pairs]
        self.rounds: list[Compared] = []

    def look(self, looks: Sequence[Look]) -> tuple[Estimated, ...]:
        """The differences after another round, which all `looks` of the inputs tell of."""
        self._now = [self._looked(place) for place in range(len(self._pairs))]
        reference, flops = sum(each.reference for each in looks), sum(each.flops for each in looks)
        self.rounds.append(Compared(reference, flops, tuple(self._now)))
        first = self._now[0]
        say(f"difference: {named(first)} {difference_interval(self._kind, first)}")
        return tuple(self._now)

    def wanted(self) -> list[list[Wanted]]:
        """What each input still has to tell for differences that are too wide. Both sides grow with
        each of them: a round of one side alone tells little of a difference.
        """
        found: tuple[list[Wanted], list[Wanted]] = ([], [])
        wide = [now.half_width > self._within for now in self._now]
        if any(side.sequences[0].proxy_means is not None for side in self._sides):
            wide = too_wide([self._expected(pair) for pair in self._pairs], self._within)
        for pair, now, grows in zip(self._pairs, self._now, wide, strict=True):
            if grows:
                for wanted, more in zip(found, self._wanted(pair, now), strict=True):
                    wanted += more
        return list(found) if len(self._inputs) > 1 else [[*found[0], *found[1]]]

    def _expected(self, pair: Pair) -> float:
        """Half width that earlier pairs of reference and proxy let expect."""
        one, other = self._sides
        sequences = one.sequences[pair.one], other.sequences[pair.other]
        return math.hypot(*(each.expected_half_width(self._alpha) for each in sequences))

    def _wanted(self, pair: Pair, now: Estimated) -> tuple[list[Wanted], list[Wanted]]:
        """Of both sides; nothing of one that was seen in full."""
        places = (pair.one, pair.other)
        one, other = (self._part(*each) for each in zip(self._sides, places, strict=True))
        halves = ((now.half_width, self._within / math.sqrt(2)),) * 2
        if one.seen and other.seen:
            width = now.half_width
            if any(side.sequences[0].use_proxy for side in self._sides):
                # The interval knows scores of units that have no reference yet, on which sizes of
                # rounds must not depend.
                width = expected_half_width((one, other), self._alpha)
            halves = contributed((one, other), width, self._within)

        def of(number: int, part: Contribution) -> list[Wanted]:
            side, place = self._sides[number], places[number]
            if part.seen == part.units:
                return []
            numbers = side.sequences[place].pairs()
            group = side.populations[place].number
            return [Wanted(group, *numbers, part.units, self._alpha, *halves[number])]

        return of(0, one), of(1, other)

    def _looked(self, place: int) -> Estimated:
        pair, before = self._pairs[place], self._now[place]
        if self._differences is not None:
            found = self._differences[place].look()
        else:
            one, other = self._sides[0].ratios[pair.one], self._sides[1].ratios[pair.other]
            assert one is not None
            assert other is not None
            found = ratio_difference(one, other, alpha=self._alpha)
            found = found.since(before.low, before.high)
        return Estimated(
            pair.label,
            pair.group,
            found.estimate,
            found.low,
            found.high,
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
