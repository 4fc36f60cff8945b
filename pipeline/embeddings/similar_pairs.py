"""Finds all pairs of vectors whose cosine reaches a threshold.

A plain comparison of n vectors takes n * n / 2 products of d numbers. Exact shortcuts come before
it: vectors that are equal to the bit are compared once, cells of vectors are compared if they may
hold such a pair (`cells.py`), and cosines are bounded by shorter products (`short_rows.py`).
Cosines of the pairs that are left are computed in float64.

Where more products are left than are worth waiting for, only vectors that share one of their
nearest cells are compared, and the share of pairs that this finds is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.embeddings.cells import Cells
from pipeline.embeddings.cosine import BLOCK_ROWS, Bools, Doubles, Ints, exact_cosines, unit_rows
from pipeline.embeddings.short_rows import ShortRows
from pipeline.statistics import Estimate, share
from workers.embeddings import Vectors

# Products that take a minute or two on two cores. All pairs of 140,000 vectors are no more.
MOST_PRODUCTS = 1e10
_LEFT_ROWS = 1024
# Rows whose pairs among all are searched for, to measure what cells find.
_SAMPLE_ROWS = 4096


@dataclass(frozen=True, eq=False)
class SimilarPairs:
    """Pairs of vectors by their numbers, first < second.

    Of c vectors that are equal to the bit, each but the first is paired with the first alone.

    Attributes:
        first: (p,) numbers.
        second: (p,) numbers.
        cosines: (p,) their cosines.
        complete: whether the search went to its end; False if there are more than were wanted.
        recall: share of all pairs that are found; None if all are.
        compared: share of all pairs whose cosines were bounded or computed, 0 to 1.
        unusable: number of vectors that are all zero or not finite.
    """

    first: Ints
    second: Ints
    cosines: Doubles
    complete: bool
    recall: Estimate | None
    compared: float
    unusable: int


def similar_pairs(
    vectors: Vectors, threshold: float, *, most: int, most_products: float = MOST_PRODUCTS
) -> SimilarPairs:
    """All pairs of different rows whose cosine is `threshold` or more.

    Args:
        vectors: float16 (n, d).
        threshold: above 0, at most 1.
        most: number of pairs after which the search ends, copies to the bit not counted.
        most_products: number of products above which cells alone are compared; infinite for all
            pairs, however long that takes.

    Raises:
        ValueError: the threshold is not between 0 and 1, or `most` is below 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the cosine must be above 0 and at most 1; got {threshold:g}")
    if most < 1:
        raise ValueError(f"the number of pairs must be 1 or more; got {most}")
    usable = _usable(vectors)
    rows, copies, originals = _without_copies(vectors, usable)
    found, total, compared = _Found(most), len(rows) * (len(rows) - 1) / 2, 0
    recall = None
    if len(rows) > 1:
        cells, short = Cells.of(vectors, rows), ShortRows.of(vectors, rows, threshold)
        near = cells.near(threshold)
        every = cells.products(near) <= most_products
        blocks = _near_cells(cells, near, short) if every else _shared_cells(cells, short)
        for left, right, count in blocks:
            compared += count
            left, right = np.minimum(rows[left], rows[right]), np.maximum(rows[left], rows[right])
            cosines = exact_cosines(vectors[left], vectors[right])
            hits = cosines >= threshold
            if not found.add(left[hits], right[hits], cosines[hits]):
                break
        if not every:
            recall = _recall(vectors, rows, cells, short, threshold)
    first, second, cosines = found.arrays()
    return SimilarPairs(
        first=np.concatenate([first, originals]),
        second=np.concatenate([second, copies]),
        cosines=np.concatenate([cosines, np.ones(len(copies))]),
        complete=not found.full,
        recall=recall,
        compared=compared / total if total else 0.0,
        unusable=int((~usable).sum()),
    )


def groups_of(pairs: SimilarPairs, count: int) -> list[list[int]]:
    """Groups of `count` vectors that chains of pairs connect, each sorted, those of one left out.

    Groups are in the order of their first vectors.
    """
    parents = list(range(count))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    members: dict[int, list[int]] = {}
    for place in np.unique(np.concatenate([pairs.first, pairs.second])).tolist():
        members.setdefault(root(place), []).append(place)
    return [members[place] for place in sorted(members)]


class _Found:
    """Pairs that were found, up to a number."""

    def __init__(self, most: int) -> None:
        self.full = False
        self._most = most
        self._count = 0
        self._parts: list[tuple[Ints, Ints, Doubles]] = []

    def add(self, first: Ints, second: Ints, cosines: Doubles) -> bool:
        """Whether there is room for more."""
        room = self._most - self._count
        self.full = len(first) > room
        self._parts.append((first[:room], second[:room], cosines[:room]))
        self._count += min(len(first), room)
        return not self.full

    def arrays(self) -> tuple[Ints, Ints, Doubles]:
        none = np.zeros(0, np.int64)
        parts = [(none, none, np.zeros(0)), *self._parts]
        first, second, cosines = (np.concatenate(each) for each in zip(*parts, strict=True))
        return first, second, cosines


def _usable(vectors: Vectors) -> Bools:
    parts = [
        unit_rows(vectors[start : start + BLOCK_ROWS])[1]
        for start in range(0, len(vectors), BLOCK_ROWS)
    ]
    return np.concatenate([np.zeros(0, bool), *parts])


def _without_copies(vectors: Vectors, usable: Bools) -> tuple[Ints, Ints, Ints]:
    """Rows without copies to the bit, and the copies with the row that each is a copy of."""
    rows = np.flatnonzero(usable)
    factors = np.random.default_rng(0).integers(1, 2**63, vectors.shape[1], np.uint64)
    factors |= np.uint64(1)
    hashes = np.zeros(len(rows), np.uint64)
    for start in range(0, len(rows), BLOCK_ROWS):
        bits = vectors[rows[start : start + BLOCK_ROWS]].view(np.uint16).astype(np.uint64)
        hashes[start : start + len(bits)] = bits @ factors
    _, places, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    firsts = rows[places[inverse]]
    is_copy = firsts != rows
    maybe = np.flatnonzero(is_copy)
    for start in range(0, len(maybe), BLOCK_ROWS):
        part = maybe[start : start + BLOCK_ROWS]
        # Different vectors may have one hash.
        same = vectors[rows[part]].view(np.uint16) == vectors[firsts[part]].view(np.uint16)
        is_copy[part] = same.all(axis=1)
    return rows[~is_copy], rows[is_copy], firsts[is_copy]


def _near_cells(
    cells: Cells, near: list[Ints], short: ShortRows
) -> Iterator[tuple[Ints, Ints, int]]:
    """Pairs of rows that may be near enough, each at most once, and the number of pairs compared.

    Rows are numbered by their place among those of the cells.
    """
    bounds, order = cells.bounds, cells.order
    for cell in range(len(cells)):
        for low in range(bounds[cell], bounds[cell + 1], _LEFT_ROWS):
            high = min(low + _LEFT_ROWS, bounds[cell + 1])
            for first, last in _spans(bounds, near[cell], low):
                left, right = short.near(order[low:high], order[first:last])
                after = first + right > low + left
                count = _pairs(low, high, first, last)
                yield order[low + left[after]], order[first + right[after]], count


def _pairs(low: int, high: int, first: int, last: int) -> int:
    """Pairs of a place from low to high - 1 and a later one from first to last - 1."""
    begins = np.maximum(first, np.arange(low, high) + 1)
    return int(np.clip(last - begins, 0, None).sum())


def _spans(bounds: Ints, cells: Ints, low: int) -> Iterator[tuple[int, int]]:
    """Places of the rows of some cells from a place on, in spans of bounded length."""
    starts, stops = bounds[cells], bounds[cells + 1]
    # Neighboring cells are one span.
    firsts = np.flatnonzero(np.concatenate([[True], starts[1:] != stops[:-1]]))
    lasts = np.concatenate([firsts[1:] - 1, [len(cells) - 1]])
    for one, other in zip(firsts, lasts, strict=True):
        for first in range(max(int(starts[one]), low), int(stops[other]), BLOCK_ROWS):
            yield first, min(first + BLOCK_ROWS, int(stops[other]))


def _shared_cells(cells: Cells, short: ShortRows) -> Iterator[tuple[Ints, Ints, int]]:
    """As `_near_cells`, of rows that share one of their nearest cells."""
    for cell, members in enumerate(cells.members()):
        for low in range(0, len(members), _LEFT_ROWS):
            rows = members[low : low + _LEFT_ROWS]
            for first in range(low, len(members), BLOCK_ROWS):
                others = members[first : first + BLOCK_ROWS]
                left, right = short.near(rows, others)
                after = first + right > low + left
                left, right = rows[left[after]], others[right[after]]
                # Rows that share several cells are a pair of the first of them.
                own = cells.first_shared(left, right) == cell
                count = _pairs(low, low + len(rows), first, first + len(others))
                yield left[own], right[own], count


def _recall(
    vectors: Vectors, rows: Ints, cells: Cells, short: ShortRows, threshold: float
) -> Estimate:
    """The share of the pairs of a sample of rows whose rows share a cell."""
    sample = np.random.default_rng(1).permutation(len(rows))[:_SAMPLE_ROWS]
    hits = count = 0
    for low in range(0, len(sample), _LEFT_ROWS):
        ours = sample[low : low + _LEFT_ROWS]
        for first in range(0, len(rows), BLOCK_ROWS):
            others = np.arange(first, min(first + BLOCK_ROWS, len(rows)))
            left, right = short.near(ours, others)
            left, right = ours[left], others[right]
            left, right = left[left != right], right[left != right]
            is_pair = exact_cosines(vectors[rows[left]], vectors[rows[right]]) >= threshold
            shared = cells.first_shared(left[is_pair], right[is_pair]) >= 0
            hits, count = hits + int(shared.sum()), count + len(shared)
    return share(hits, count)
