"""Exact nearest neighbors by cosine among vectors that pass by in batches."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.embeddings.cosine import (
    BLOCK_ROWS,
    Floats,
    Ints,
    exact_cosines,
    product_error,
    unit_rows,
)
from workers.embeddings import Vectors

_LEAST_PART = 256


@dataclass(frozen=True)
class Neighbor:
    """A vector near a query.

    Attributes:
        key: what the vector belongs to; the neighbors of a query have different keys.
        cosine: with the query, -1 to 1.
        row: number of the vector among all that were added, from 0.
        values: what was added beside it.
    """

    key: Hashable
    cosine: float
    row: int
    values: tuple[Any, ...] = ()

    @property
    def order(self) -> tuple[float, int]:
        """The nearest come first; of equally near ones, the one that was added first."""
        return -self.cosine, self.row


class NearestSearch:
    """The k nearest keys of each of q queries, by the nearest vector of each key.

    Holds k neighbors of each query, and a block of vectors while they are added. The result is
    that of comparing all vectors, whatever the batches.

    Attributes:
        added: number of vectors that were added.
        compared: number of those whose keys are searched.
        unusable: number of those that are all zero or not finite; they are nobody's neighbors.

    Args:
        queries: float16 (q, d).
        k: number of neighbors of each.
        left_out: keys that are not searched.

    Raises:
        ValueError: k is below 1, or a query is all zero or not finite.
    """

    def __init__(self, queries: Vectors, k: int, *, left_out: Collection[Hashable] = ()) -> None:
        if k < 1:
            raise ValueError(f"k must be 1 or more; got {k}")
        units, usable = unit_rows(queries)
        if not usable.all():
            raise ValueError("the embedding is all zero or not finite, so nothing is near it")
        self.added = self.compared = self.unusable = 0
        self._queries, self._units = queries, units
        self._best = [_Best(k) for _ in queries]
        self._part = max(_LEAST_PART, 4 * k)
        self._left_out = frozenset(left_out)
        self._error = product_error(queries.shape[1])

    def add(self, vectors: Vectors, keys: Sequence[Hashable], *columns: Sequence[Any]) -> None:
        """Compares vectors with the queries.

        Args:
            vectors: float16 (n, d).
            keys: (n,) what each belongs to.
            columns: (n,) each; values that the neighbors carry.

        Raises:
            ValueError: they have other channels than the queries.
        """
        if vectors.shape[1] != self._queries.shape[1]:
            raise ValueError(
                f"the queries have {self._queries.shape[1]} channels, and the vectors "
                f"{vectors.shape[1]}"
            )
        for start in range(0, len(vectors), BLOCK_ROWS):
            units, usable = unit_rows(vectors[start : start + BLOCK_ROWS])
            self.unusable += int((~usable).sum())
            products = units @ self._units.T
            places = start + np.flatnonzero(usable)
            for number in range(len(self._queries)):
                self._offer(number, products[usable, number], places, vectors, keys, columns)
        self.added += len(vectors)
        self.compared += len(vectors)
        if self._left_out:
            self.compared -= sum(key in self._left_out for key in keys)

    def neighbors(self, query: int = 0) -> list[Neighbor]:
        """The nearest so far of a query, nearest first."""
        return sorted(self._best[query].by_key.values(), key=lambda each: each.order)

    def _offer(
        self,
        number: int,
        products: Floats,
        places: Ints,
        vectors: Vectors,
        keys: Sequence[Hashable],
        columns: tuple[Sequence[Any], ...],
    ) -> None:
        """Offers the vectors at some places to a query, those with large products first."""
        best = self._best[number]
        near = np.flatnonzero(products >= best.floor - self._error)
        near = near[np.argsort(-products[near], kind="stable")]
        for start in range(0, len(near), self._part):
            part = near[start : start + self._part]
            if products[part[0]] < best.floor - self._error:
                break
            here = places[part]
            exact = exact_cosines(
                vectors[here], np.broadcast_to(self._queries[number], (len(here), vectors.shape[1]))
            )
            for place, cosine in zip(here.tolist(), exact.tolist(), strict=True):
                if cosine >= best.floor and (key := keys[place]) not in self._left_out:
                    values = tuple(column[place] for column in columns)
                    best.offer(Neighbor(key, cosine, self.added + place, values))


class _Best:
    """The k nearest keys of a query so far."""

    def __init__(self, k: int) -> None:
        self.by_key: dict[Hashable, Neighbor] = {}
        self.floor = -np.inf
        self._k = k

    def offer(self, new: Neighbor) -> None:
        known = self.by_key.get(new.key)
        if known is not None:
            if new.order >= known.order:
                return
        elif len(self.by_key) == self._k:
            worst = max(self.by_key.values(), key=lambda each: each.order)
            if new.order >= worst.order:
                return
            del self.by_key[worst.key]
        self.by_key[new.key] = new
        if len(self.by_key) == self._k:
            self.floor = min(each.cosine for each in self.by_key.values())
