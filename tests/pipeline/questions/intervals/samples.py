"""Populations and looks for tests of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


def shares(population: int, share: float) -> np.ndarray:
    """(population,) zeros and ones, exactly `share` of which are ones."""
    values = np.zeros(population)
    values[: round(share * population)] = 1
    return values


def rounds(population: int, first: int, factor: float) -> Iterator[slice]:
    """Slices of geometric rounds that cover the population."""
    begin, end = 0, min(first, population)
    while begin < population:
        yield slice(begin, end)
        begin, end = end, min(population, math.ceil(end * factor))


def most_misses(draws: int, alpha: float) -> int:
    """Misses that a valid interval has no more of, but in one of a billion test runs."""
    return math.ceil(draws * alpha + 6 * math.sqrt(draws * alpha * (1 - alpha)))


def guesses(draw: np.random.Generator, reference: np.ndarray, agreement: float) -> np.ndarray:
    """(n,) proxy labels that agree with the share `agreement` of `reference`, with errors of both
    kinds.
    """
    wrong = round((1 - agreement) * len(reference))
    proxy = reference.copy()
    for value in (0, 1):
        places = np.flatnonzero(reference == value)
        proxy[draw.choice(places, min(wrong // 2, len(places)), replace=False)] = 1 - value
    return proxy
