"""Cells of vectors that lie together, around the centers of a spherical k-means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.cosine import (
    BLOCK_ROWS,
    Bools,
    Doubles,
    Floats,
    Ints,
    product_error,
    unit_rows,
)
from workers.embeddings import Vectors

_ROUNDS = 6
_MOST_CELLS = 2048
_PER_CENTER = 24
# Cells in which a row is looked for.
_NEAREST = 3


@dataclass(frozen=True, eq=False)
class Cells:
    """m rows in c cells.

    Attributes:
        nearest: int32 (m, p) numbers of the nearest centers of each row, the nearest first.
        order: (m,) the rows, sorted by their nearest center.
        bounds: (c + 1,) where in `order` each cell begins.
        radii: (c,) the largest angle of a row of each cell with its center, radians.
        angles: (c, c) the smallest angle of a row of each cell (first axis) with each center.
        error: how far angles' cosines may be off.
    """

    nearest: npt.NDArray[np.int32]
    order: Ints
    bounds: Ints
    radii: Doubles
    angles: Doubles
    error: float

    def __len__(self) -> int:
        return len(self.radii)

    @classmethod
    def of(cls, vectors: Vectors, rows: Ints) -> Cells:
        """Divides rows of vectors, all of which have directions."""
        wanted = int(np.clip(2 * len(rows) ** 0.5, 1, _MOST_CELLS))
        sample = np.sort(np.random.default_rng(0).permutation(rows)[: _PER_CENTER * wanted])
        centers = fit_centers(vectors[sample], wanted)
        count, error = len(centers), product_error(vectors.shape[1])
        nearest = np.zeros((len(rows), min(_NEAREST, count)), np.int32)
        smallest: Floats = np.full(count, 1.0, np.float32)
        # The largest cosine of a row of each cell with each center.
        largest: Floats = np.full((count, count), -1.0, np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            products = unit_rows(vectors[rows[start : start + BLOCK_ROWS]])[0] @ centers.T
            part = nearest[start : start + len(products)]
            part[:] = _largest(products, part.shape[1])
            by_cell = np.argsort(part[:, 0], kind="stable")
            present, firsts = np.unique(part[by_cell, 0], return_index=True)
            products = products[by_cell]
            most = np.maximum.reduceat(products, firsts)
            largest[present] = np.maximum(largest[present], most)
            own = products[np.arange(len(products)), part[by_cell, 0]]
            smallest[present] = np.minimum(smallest[present], np.minimum.reduceat(own, firsts))
        order = np.argsort(nearest[:, 0], kind="stable")
        return cls(
            nearest=nearest,
            order=order,
            bounds=np.searchsorted(nearest[order, 0], np.arange(count + 1)),
            radii=_angles(smallest, -error),
            angles=_angles(largest, error),
            error=error,
        )

    def near(self, cosine: float) -> list[Ints]:
        """Of each cell those from it on that may hold a row with such a cosine with one of its own.

        By the triangle inequality: such a row is within arccos(cosine) of the cell's own row, and
        within its own cell's radius of that cell's center.
        """
        reach = self.radii + np.arccos(cosine) + self.error
        may_hold: Bools = self.angles <= reach
        may_hold = may_hold & may_hold.T
        np.fill_diagonal(may_hold, True)
        return [cell + np.flatnonzero(may_hold[cell, cell:]) for cell in range(len(self))]

    def products(self, near: list[Ints]) -> float:
        """How many pairs of rows such cells have."""
        sizes = np.diff(self.bounds).astype(np.float64)
        return float(
            sum(
                sizes[cell] * (sizes[others].sum() - sizes[cell] / 2)
                for cell, others in enumerate(near)
            )
        )

    def members(self) -> Iterator[Ints]:
        """The rows of which each cell is one of the nearest."""
        flat = self.nearest.ravel()
        order = np.argsort(flat, kind="stable")
        bounds = np.searchsorted(flat[order], np.arange(len(self) + 1))
        for start, stop in pairwise(bounds.tolist()):
            yield order[start:stop] // self.nearest.shape[1]

    def first_shared(self, left: Ints, right: Ints) -> Ints:
        """(n,) the lowest number of a cell that is among the nearest of both rows, or -1."""
        ours, theirs = self.nearest[left], self.nearest[right]
        shared = (ours[:, :, None] == theirs[:, None, :]).any(axis=2)
        lowest = np.where(shared, ours, len(self)).min(axis=1, initial=len(self))
        return np.where(lowest < len(self), lowest, -1)


def fit_centers(vectors: Vectors, count: int, *, seed: int = 0) -> Floats:
    """(c, d) float32 unit rows, c <= count: centers of cells of vectors that lie together.

    Spherical k-means (I. Dhillon and D. Modha, Concept decompositions for large sparse text data,
    2001) from centers that k-means++ draws. The same vectors give the same centers.

    Args:
        vectors: float16 (n, d), with directions; a sample where there are many.
        count: number of centers, 1 or more.
        seed: of what is drawn.
    """
    draw = np.random.default_rng(seed)
    units, _ = unit_rows(vectors)
    centers = _first_centers(units, count, draw)
    for _ in range(_ROUNDS):
        nearest = (units @ centers.T).argmax(axis=1)
        order = np.argsort(nearest, kind="stable")
        present, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(units[order], starts, axis=0)
        lengths = np.linalg.norm(sums, axis=1)
        moved = lengths > 0
        centers[present[moved]] = sums[moved] / lengths[moved, None]
    return centers


def nearest_centers(vectors: Vectors, centers: Floats) -> tuple[Ints, Floats]:
    """(n,) number of each vector's nearest center, and (n,) its cosine with it."""
    labels: Ints = np.zeros(len(vectors), np.int64)
    cosines: Floats = np.zeros(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        products = unit_rows(vectors[start : start + BLOCK_ROWS])[0] @ centers.T
        labels[start : start + len(products)] = products.argmax(axis=1)
        cosines[start : start + len(products)] = products.max(axis=1)
    return labels, cosines


def _largest(products: Floats, count: int) -> Ints:
    """(n, count) places of the largest products of each row, the largest first."""
    places = np.argpartition(-products, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(products, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(places, order, axis=1))


def _angles(cosines: Floats, error: float) -> Doubles:
    return np.asarray(np.arccos(np.clip(cosines.astype(np.float64) + error, -1, 1)))


def _first_centers(units: Floats, count: int, draw: np.random.Generator) -> Floats:
    """Centers by k-means++: each is drawn by its squared distance from those before.

    Several are drawn at a time, which changes little and takes a fraction of the time.
    """
    centers: Floats = units[draw.integers(len(units))][None]
    distances: Doubles = np.full(len(units), np.inf)
    new = centers
    while True:
        far = np.clip(1 - (units @ new.T).max(axis=1).astype(np.float64), 0, None)
        distances = np.minimum(distances, far)
        distances[distances < 1e-6] = 0
        missing = min(count - len(centers), int((distances > 0).sum()))
        if missing <= 0:
            return np.asarray(centers, np.float32)
        at_once = min(missing, max(1, len(centers) // 2))
        shares = distances / distances.sum()
        new = units[np.sort(draw.choice(len(units), at_once, replace=False, p=shares))]
        centers = np.concatenate([centers, new])
