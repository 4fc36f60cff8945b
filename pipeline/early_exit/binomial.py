"""Exact binomial confidence bounds of a share.

A miss is a draw that does not have the property whose share is bounded.

C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of
the binomial, Biometrika 26, 1934.
"""

from __future__ import annotations

import functools
import math

import numpy as np

_HALVINGS = 60


def miss_probability(misses: int, count: int, share: float) -> float:
    """Probability of at most `misses` in `count` draws, each a miss with probability `share`."""
    if misses < 0:
        return 0.0
    if misses >= count or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    if misses == 0:
        return math.exp(count * math.log1p(-share))
    numbers = np.arange(misses + 1)
    logs = _log_choices(count)[: misses + 1]
    terms = logs + numbers * math.log(share) + (count - numbers) * math.log1p(-share)
    return min(1.0, float(np.exp(terms).sum()))


@functools.lru_cache(maxsize=16)
def _log_choices(count: int) -> np.ndarray:
    """(count + 1,) logarithms of the binomial coefficients of `count`."""
    whole = math.lgamma(count + 1)
    return np.array(
        [whole - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(count + 1)]
    )


@functools.lru_cache(maxsize=4096)
def lower_bound(hits: int, count: int, confidence: float) -> float:
    """Lower bound of the exact one-sided confidence interval of a share.

    Args:
        hits: draws with the property, 0 to `count`.
        count: draws, 1 or more.
        confidence: above 0 and below 1.
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"hits must be 0 to count and count 1 or more; got {hits} of {count}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1; got {confidence:g}")
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if miss_probability(count - hits, count, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return 1 - high


@functools.lru_cache(maxsize=4096)
def max_misses(count: int, agreement: float, confidence: float) -> int:
    """The largest number of misses at which the lower bound of the share reaches `agreement`.

    -1 where even `count` draws without a miss do not.
    """
    few, many = -1, max(0, count)
    while many - few > 1:
        middle = (few + many) // 2
        if miss_probability(middle, count, 1 - agreement) <= 1 - confidence:
            few = middle
        else:
            many = middle
    return few


def is_provable(count: int, agreement: float, confidence: float) -> bool:
    """Whether `count` draws without a miss prove a share of `agreement`."""
    return count > 0 and miss_probability(0, count, 1 - agreement) <= 1 - confidence


def videos_needed(agreement: float, confidence: float) -> int:
    """The fewest draws that prove a share of `agreement` if none is a miss."""
    count = max(1, math.ceil(math.log(1 - confidence) / math.log(agreement)) - 1)
    while not is_provable(count, agreement, confidence):
        count += 1
    return count


def refutes(misses: int, count: int, agreement: float, confidence: float) -> bool:
    """Whether the misses prove, at this confidence, that the share is below `agreement`."""
    return 1 - miss_probability(misses - 1, count, 1 - agreement) <= 1 - confidence


def reaches(misses: int, count: int, agreement: float) -> bool:
    """Whether the share is at least `agreement`, up to rounding: 4 misses of 800 are 0.995."""
    return misses <= count * (1 - agreement) + 1e-6
