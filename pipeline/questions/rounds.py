"""How many units each round has, decided by the rounds before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.allocation import FACTOR, Costs, next_round, plan

Floats = npt.NDArray[np.float64]

# Units of the first round, from which the worth of the proxy is seen.
PILOT = 200

# A round starts actors anew, which takes as long as some hundred units of a small model.
_LEAST_GROWTH = 1.2


@dataclass(frozen=True)
class Sizes:
    """Units of all rounds so far, of the reference and of the proxy."""

    reference: int
    proxy: int


@dataclass(frozen=True)
class Wanted:
    """One interval that is still too wide.

    Attributes:
        reference: (n,) references of its population so far.
        scores: (n,) proxy scores of the same units; empty without a proxy.
        units: of its population.
        alpha: 1 - confidence.
        half_width: of the interval now.
    """

    reference: Floats
    scores: Floats
    units: int
    alpha: float
    half_width: float


def pilot(units: int, *, has_proxy: bool, most: int) -> Sizes:
    """The first round."""
    reference = min(PILOT, units, most)
    return Sizes(reference, reference if has_proxy else 0)


def by_plan(
    seen: Sizes, units: int, wanted: Sequence[Wanted], *, within: float, costs: Costs, most: int
) -> Sizes:
    """The sizes after the next round, for intervals of shares with a proxy; see `allocation.plan`.

    A group's sizes count for the share of the population that it is.
    """
    reference, proxy = seen.reference, seen.proxy
    for each in wanted:
        planned = plan(
            each.reference,
            each.scores,
            population=each.units,
            within=within,
            costs=costs,
            alpha=each.alpha,
        )
        share = each.units / units
        sizes = next_round(planned, len(each.reference), math.floor(seen.proxy * share))
        reference = max(reference, math.ceil(sizes[0] / share))
        proxy = max(proxy, math.ceil(sizes[1] / share))
    reference = max(reference, math.ceil(_LEAST_GROWTH * seen.reference))
    reference = min(reference, units, most)
    return Sizes(reference, min(units, max(proxy, reference)))


def by_width(
    seen: Sizes, units: int, wanted: Sequence[Wanted], *, within: float, most: int
) -> Sizes:
    """The sizes after the next round, by how far the widest interval has to shrink."""
    widest = max((each.half_width for each in wanted), default=math.inf)
    factor = min(FACTOR, (widest / within) ** 2) if math.isfinite(widest) else FACTOR
    larger = math.ceil(seen.reference * max(_LEAST_GROWTH, factor))
    return Sizes(min(larger, units, most), seen.proxy)
