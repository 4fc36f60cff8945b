"""What each side of a difference still has to contribute to its width.

The squares of both sides' contributions add up to that of the half width; of n units of N a side
contributes in proportion to variance * (1 / n - 1 / N). The fewest units of both together that
make a difference narrow enough are in proportion to the standard deviations (J. Neyman, On the two
different aspects of the representative method, 1934), as far as a side has so many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_HALVINGS = 60
# What is left to contribute of a side that shall be seen in full, relative to the whole.
_NOTHING = 1e-3
# An interval that is wider than expected has to shrink too.
_LEAST_SHRINKING = 1.05


@dataclass(frozen=True)
class Contribution:
    """One side.

    Attributes:
        variance: of a unit.
        units: of the population.
        seen: those with a reference, 1 or more.
    """

    variance: float
    units: int
    seen: int

    def at(self, count: float) -> float:
        """Variance of the mean of `count` units."""
        return max(0.0, self.variance * (1 / count - 1 / self.units))


Sides = tuple[Contribution, Contribution]


def expected_half_width(sides: Sides, alpha: float) -> float:
    """Half width of a difference that both sides are expected to give so far."""
    variance = sum(each.at(each.seen) for each in sides)
    return math.sqrt(2 * math.log(2 / alpha) * variance)


def contributed(
    sides: Sides, half_width: float, within: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """(now, aim) of each side: half widths whose squares add up to those of the difference.

    Args:
        sides: both sides.
        half_width: of the difference now.
        within: half width that is wanted; one as large as `half_width` leaves little to do.
    """
    half_width = max(half_width, _LEAST_SHRINKING * within)
    now = [each.at(each.seen) for each in sides]
    if not math.isfinite(half_width) or sum(now) == 0:
        return ((half_width, within / math.sqrt(2)),) * 2
    wanted = sum(now) * (within / half_width) ** 2

    def counts(scale: float) -> list[float]:
        return [
            min(float(each.units), max(each.seen, scale * math.sqrt(each.variance)))
            for each in sides
        ]

    few, many = (
        0.0,
        max(each.units for each in sides)
        / math.sqrt(min(each.variance for each in sides if each.variance)),
    )
    for _ in range(_HALVINGS):
        middle = (few + many) / 2
        reached = sum(each.at(count) for each, count in zip(sides, counts(middle), strict=True))
        few, many = (middle, many) if reached > wanted else (few, middle)
    last = [each.at(count) for each, count in zip(sides, counts(many), strict=True)]
    scale = half_width / math.sqrt(sum(now))

    def side(place: int) -> tuple[float, float]:
        aim = max(scale * math.sqrt(last[place]), _NOTHING * within)
        return scale * math.sqrt(now[place]), aim

    return side(0), side(1)
