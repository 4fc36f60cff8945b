"""How a sample is divided among groups, and the confidence of answers by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.questions.confidence_sequence import check_alpha

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Deviation that a group is taken to have at least, relative to the largest: few units that look
# alike do not show that all do.
_LEAST_DEVIATION = 0.2


def simultaneous_alpha(alpha: float, answers: int) -> float:
    """Alpha of each of several answers that shall hold all at once, by Bonferroni.

    For answers by group, answers for several labels, or both times each other.
    """
    check_alpha(alpha)
    if answers < 1:
        raise ValueError(f"answers must be 1 or more; got {answers}")
    return alpha / answers


def proportional(populations: Sequence[int], total: int) -> Ints:
    """(groups,) units of each group in a sample of `total`, in proportion to its population.

    Each group has one unit at least, and no more than its population; so the sum may be larger
    than a `total` below the number of groups.
    """
    return _divided(np.asarray(populations, np.float64), populations, total)


def neyman(populations: Sequence[int], deviations: npt.ArrayLike, total: int) -> Ints:
    """(groups,) units of each group that make the stratified mean most certain.

    In proportion to population times standard deviation. J. Neyman, On the two different aspects of
    the representative method, 1934. `deviations` (groups,) must come from earlier rounds.
    """
    spread = np.asarray(deviations, np.float64)
    if spread.shape != (len(populations),) or not (np.isfinite(spread) & (spread >= 0)).all():
        raise ValueError(f"deviations must be {len(populations)} numbers of 0 or more")
    spread = np.maximum(spread, _LEAST_DEVIATION * spread.max(initial=0.0))
    if not spread.any():
        return proportional(populations, total)
    return _divided(np.asarray(populations) * spread, populations, total)


def _divided(weights: Floats, populations: Sequence[int], total: int) -> Ints:
    """Largest remainders; what a full group cannot take goes to the others."""
    limits = np.asarray(populations, np.int64)
    if not len(limits) or limits.min() < 1:
        raise ValueError("populations must hold a group or more, each of 1 unit or more")
    if total < 0:
        raise ValueError(f"total must be 0 or more; got {total}")
    total = min(total, int(limits.sum()))
    sizes = np.zeros(len(limits), np.int64)
    free = np.ones(len(limits), bool)
    while free.any():
        left = total - int(sizes[~free].sum())
        exact = np.where(free, weights * left / weights[free].sum(), 0.0)
        full = free & (exact > limits)
        if not full.any():
            sizes[free] = np.floor(exact[free]).astype(np.int64)
            order = np.argsort(-(exact - np.floor(exact)) - np.where(free, 0, -2), kind="stable")
            sizes[order[: total - int(sizes.sum())]] += 1
            break
        sizes[full] = limits[full]
        free &= ~full
    return _with_one_each(sizes)


def _with_one_each(sizes: Ints) -> Ints:
    """Gives groups without a unit one of those of the largest groups."""
    for empty in np.flatnonzero(sizes == 0):
        largest = int(sizes.argmax())
        sizes[largest] -= int(sizes[largest] > 1)
        sizes[empty] = 1
    return sizes
