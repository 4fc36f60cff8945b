"""How many units each round has, decided by the rounds before it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.intervals.allocation import FACTOR, Costs, next_round, plan

Floats = npt.NDArray[np.float64]

# Units of the first round, from which the worth of the proxy is seen.
PILOT = 200
# Of each group that is asked for.
_GROUP_PILOT = 50

# A round starts actors anew, which takes as long as some hundred units of a small model.
_LEAST_GROWTH = 1.2

# Of the widest intervals to expect, those that grow where none is expected to be too wide.
_WIDEST = 0.8

# Sizes that --max-reference limits are found to this share of what was wanted.
_HALVINGS = 30


@dataclass(frozen=True)
class Sizes:
    """Units of all rounds so far, of the reference and of the proxy.

    The units that answer for all are a random sample of all. A group has those of them that are its
    own, and further ones up to its own size.

    Attributes:
        populations: units of each group; one group where none are asked for.
        reference: of all units.
        proxy: of all units.
        references: of each group.
        proxies: of each group.
    """

    populations: tuple[int, ...]
    reference: int
    proxy: int
    references: tuple[int, ...]
    proxies: tuple[int, ...]

    @classmethod
    def none(cls, populations: Sequence[int]) -> Sizes:
        """Before the first round."""
        zeros = (0,) * len(populations)
        return cls(tuple(populations), 0, 0, zeros, zeros)

    @property
    def units(self) -> int:
        """All units."""
        return sum(self.populations)

    @property
    def labeled(self) -> int:
        """Units of the reference in all groups together, as expected: those that answer for all are
        not a whole number in each group.
        """
        pairs = zip(self.references, self.populations, strict=True)
        return round(sum(max(own, self.reference * each / self.units) for own, each in pairs))

    def of_group(self, group: int) -> tuple[int, int]:
        """(reference, proxy) units of a group."""
        share = self.populations[group] / self.units
        return (
            max(self.references[group], math.ceil(self.reference * share)),
            max(self.proxies[group], math.ceil(self.proxy * share)),
        )

    def of(self, group: int | None) -> tuple[int, int]:
        """(reference, proxy) units of a group; None for those that answer for all."""
        return (self.reference, self.proxy) if group is None else self.of_group(group)

    def scaled(self, before: Sizes, share: float) -> Sizes:
        """The references that lie at a share of the way from those before to these."""

        def between(one: int, other: int) -> int:
            return one + math.floor(share * (other - one))

        references = map(between, before.references, self.references)
        return Sizes(
            self.populations,
            between(before.reference, self.reference),
            self.proxy,
            tuple(references),
            self.proxies,
        )


@dataclass(frozen=True)
class Wanted:
    """One interval that is still too wide.

    Attributes:
        group: whose it is; None for that of all units.
        reference: (n,) references of its population so far.
        scores: (n,) proxy scores of the same units; empty without a proxy.
        units: of its population.
        alpha: 1 - confidence.
        half_width: of the interval now; of a side of a difference what it contributes.
        within: half width that is aimed at.
    """

    group: int | None
    reference: Floats
    scores: Floats
    units: int
    alpha: float
    half_width: float
    within: float


def pilot(
    populations: Sequence[int], *, has_proxy: bool, most: int, only: Sequence[int] = ()
) -> Sizes:
    """The first round.

    Args:
        populations: units of each group.
        has_proxy: whether there is a proxy.
        most: largest number of references.
        only: groups that are asked for alone, without all units; empty for all.
    """
    units = sum(populations)
    references = (0,) * len(populations)
    if only:
        references = tuple(
            min(PILOT, each) if number in only else 0 for number, each in enumerate(populations)
        )
    elif len(populations) > 1:
        references = tuple(min(_GROUP_PILOT, each) for each in populations)
    every = 0 if only else min(PILOT, units, most)
    first = Sizes(
        tuple(populations),
        every,
        every if has_proxy else 0,
        references,
        references if has_proxy else (0,) * len(populations),
    )
    # Those that answer for all come first: those of many groups may be too many.
    none = Sizes.none(populations)
    return _within(first, dataclasses.replace(none, reference=every, proxy=first.proxy), most)


def too_wide(expected: Sequence[float], within: float) -> list[bool]:
    """Which of several numbers grow, where some interval is too wide.

    The intervals themselves may know proxy scores of units that have no reference yet. Were those
    that are narrow left out, the sizes of the next round, of all numbers, would depend on them.

    Args:
        expected: half width of each interval that earlier pairs let expect.
        within: half width that is wanted.
    """
    limit = min(within, _WIDEST * max(expected))
    return [each > limit for each in expected]


def by_plan(
    seen: Sizes,
    wanted: Sequence[Wanted],
    *,
    costs: Costs,
    most: int,
    is_scored: bool = False,
) -> Sizes:
    """The sizes after the next round, for intervals of shares with a proxy; see `allocation.plan`.

    Args:
        seen: sizes so far.
        wanted: the intervals that are too wide.
        costs: of a unit.
        most: largest number of references.
        is_scored: whether all units have a proxy score at no cost, so that the sizes are those of
            the reference alone.
    """

    def grown(each: Wanted) -> tuple[int, int]:
        reference, proxy = seen.of(each.group)
        planned = plan(
            each.reference,
            each.scores,
            population=each.units,
            within=each.within,
            costs=costs,
            alpha=each.alpha,
            scored=each.units if is_scored else proxy,
        )
        sizes = next_round(planned, len(each.reference), proxy)
        reference = max(sizes[0], math.ceil(_LEAST_GROWTH * reference))
        if not is_scored:
            proxy = min(each.units, max(proxy, reference, sizes[1]))
        return min(each.units, reference), proxy

    return _grown(seen, [(each.group, *grown(each)) for each in wanted], most)


def by_width(seen: Sizes, wanted: Sequence[Wanted], *, most: int) -> Sizes:
    """The sizes after the next round, by how far each interval has to shrink; as `by_plan`."""

    def grown(each: Wanted) -> tuple[int, int]:
        reference, proxy = seen.of(each.group)
        wide = each.half_width / each.within
        factor = min(FACTOR, wide**2) if math.isfinite(wide) else FACTOR
        larger = math.ceil(max(reference, 1) * max(_LEAST_GROWTH, factor))
        return min(each.units, larger), proxy

    return _grown(seen, [(each.group, *grown(each)) for each in wanted], most)


def _grown(seen: Sizes, sizes: Sequence[tuple[int | None, int, int]], most: int) -> Sizes:
    """The largest size of each group, and of all units."""
    reference, proxy = seen.reference, seen.proxy
    references, proxies = list(seen.references), list(seen.proxies)
    for group, references_of_it, proxies_of_it in sizes:
        if group is None:
            reference, proxy = max(reference, references_of_it), max(proxy, proxies_of_it)
        else:
            references[group] = max(references[group], references_of_it)
            proxies[group] = max(proxies[group], proxies_of_it)
    larger = Sizes(seen.populations, reference, proxy, tuple(references), tuple(proxies))
    return _within(larger, seen, most)


def _within(larger: Sizes, before: Sizes, most: int) -> Sizes:
    """The largest sizes on the way to `larger` that have no more than `most` references."""
    if larger.labeled <= most:
        return larger
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if larger.scaled(before, middle).labeled <= most else (low, middle)
        )
    return larger.scaled(before, low)
