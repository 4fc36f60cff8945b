"""How many references and proxy scores an answer is expected to take, and the sizes of rounds.

The plan comes from pairs of a pilot and is a prediction; the interval is valid whatever the plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.intervals.confidence_sequence import check_alpha, numbers_in
from pipeline.questions.intervals.pairs import PairMoments, Setting

Floats = npt.NDArray[np.float64]

FACTOR = 1.7
# Near the end many looks cost little and stop in time.
_LAST_FACTOR = 1.1
# References that a round aims at, relative to the plan, before looks become frequent.
_FIRST_SHARE = 0.8
_SIZES = 200
# A proxy is scored if it is expected to save this share of the cost: scores are paid before it
# shows whether they do.
_LEAST_SAVING = 0.1


@dataclass(frozen=True)
class Costs:
    """Costs of one unit, in any one unit of cost: both above 0."""

    reference: float
    proxy: float

    def __post_init__(self) -> None:
        for name in ("reference", "proxy"):
            if not (value := getattr(self, name)) > 0 or math.isinf(value):
                raise ValueError(f"the cost of a {name} must be above 0; got {value:g}")


@dataclass(frozen=True)
class Plan:
    """Expected total sizes and costs until the interval is narrow enough.

    Attributes:
        references: units with a reference (n), the pilot among them.
        proxies: units with a proxy score (N); 0 for the plain sample, which is then cheaper.
        weight: of the proxy.
        cost: of both together.
        plain_references, plain_cost: the same of the plain sample.
        population: units of the population.
    """

    references: int
    proxies: int
    weight: float
    cost: float
    plain_references: int
    plain_cost: float
    population: int

    @property
    def uses_proxy(self) -> bool:
        """Whether the proxy is worth its cost."""
        return self.proxies > 0


def plan(
    reference: npt.ArrayLike,
    proxy: npt.ArrayLike,
    *,
    population: int,
    within: float,
    costs: Costs,
    alpha: float = 0.05,
    scored: int = 0,
) -> Plan:
    """The cheapest sizes for a half width of `within`.

    Args:
        reference: (n,) references of a pilot, 0 to 1.
        proxy: (n,) proxy scores of the same units.
        population: units of the population.
        within: half width of the interval that is wanted, above 0.
        costs: of one reference, and of one proxy score.
        alpha: 1 - confidence.
        scored: units that have a proxy score at no further cost, such as one that is stored.

    Raises:
        ValueError: a number is NaN or beyond 0 to 1, or the lengths differ.
    """
    check_alpha(alpha)
    labels = numbers_in(reference, 0, 1, "reference")
    scores = numbers_in(proxy, 0, 1, "proxy")
    if len(labels) != len(scores):
        raise ValueError(f"reference and proxy differ in length: {len(labels)} and {len(scores)}")
    if population < max(1, len(labels)):
        raise ValueError(f"the population has {population} units; got a pilot of {len(labels)}")
    if not within > 0:
        raise ValueError(f"within must be above 0; got {within:g}")
    moments = PairMoments.of(labels, scores)
    pilot = max(1, len(labels))
    plain = max(pilot, math.ceil(_plain(moments, population, alpha, within)))
    plain_cost = plain * costs.reference
    least = Plan(plain, 0, 0.0, plain_cost, plain, plain_cost, population)
    worthwhile = (1 - _LEAST_SAVING) * plain_cost
    for proxies in _sizes(max(pilot, scored), population):
        weight, needed = moments.best(Setting(population, alpha, within, proxies))
        references = max(pilot, math.ceil(min(needed, population)))
        if weight == 0 or references > proxies:
            continue
        cost = references * costs.reference + max(0, proxies - scored) * costs.proxy
        if cost < min(worthwhile, least.cost):
            least = Plan(references, proxies, weight, cost, plain, plain_cost, population)
    return least


def _plain(moments: PairMoments, population: int, alpha: float, within: float) -> float:
    # With all proxies known, alpha is not shared, as in a plain sample.
    return float(moments.needed(Setting(population, alpha, within, population))[0])


def _sizes(least: int, population: int) -> list[int]:
    spaced = np.geomspace(min(least, population), population, _SIZES)
    return sorted({min(population, math.ceil(each)) for each in spaced} | {population})


def next_round(planned: Plan, references: int, proxies: int) -> tuple[int, int]:
    """Total references and proxies after the next round: by `FACTOR` until the plan is near.

    Args:
        planned: from pairs seen so far; only from these.
        references, proxies: seen so far.

    Returns:
        (n, N), at least as many as seen, N = 0 if no proxies are wanted and none were seen; n grows
        unless the population is exhausted.
    """
    if planned.references > references:
        near = math.ceil(_FIRST_SHARE * planned.references)
        step = math.ceil(references * FACTOR)
        later = near if references < near <= step else min(step, planned.references)
    else:
        later = 0
    later = max(later, math.ceil(references * _LAST_FACTOR), references + 1)
    later = min(later, planned.population)
    if not planned.uses_proxy:
        return later, max(proxies, later if proxies else 0)
    # Proxy scores grow in step with the references, so that an early stop spares both.
    share = min(1.0, later / planned.references)
    wanted = math.ceil(share * planned.proxies)
    return later, min(planned.population, max(proxies, later, wanted))
