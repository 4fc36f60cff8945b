"""Paired timing: every round runs every variant, so that a slow minute affects all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import RunError

Run = Callable[[], float]


class OutputsDiffer(RunError):  # noqa: N818
    """Variants that must give the same outputs do not; they are not timed."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __format__(self, spec: str) -> str:
        if self.low == self.high:
            return format(self.median, spec)
        return f"{self.median:{spec}} ({self.low:{spec}}-{self.high:{spec}})"


def in_turn(variants: Mapping[str, Run], *, rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """The cost of each variant in each round.

    Args:
        variants: by name, a function that does the work once and returns its seconds, of the wall
            clock or of cores.
        rounds: how often each is run. The order rotates from round to round, so that no variant
            always follows the same other one.
        warmup: rounds before, which are not counted.

    Raises:
        ValueError: there are no rounds or no variants.
    """
    if rounds < 1 or not variants:
        raise ValueError(f"{rounds} rounds of {len(variants)} variants measure nothing")
    names = list(variants)
    cost: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds = variants[name]()
            if number >= 0:
                cost[name].append(seconds)
    return cost


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """over / under, round by round.

    Raises:
        ValueError: they are not of the same rounds.
    """
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])
