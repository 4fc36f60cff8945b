"""Bounds cosines from above by shorter products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.embeddings.cosine import BLOCK_ROWS, Floats, Ints, product_error, unit_rows
from workers.embeddings import Vectors

_COMPONENTS = 31
_SAMPLE = 20_000
# Where more of the bounds reach the threshold, whole products are computed too.
_SPARSE = 1 / 64


@dataclass(frozen=True, eq=False)
class ShortRows:
    """Rows whose products are not below the cosines.

    By Cauchy and Schwarz, x y <= Px Py + |x - Px| |y - Py| for unit rows and any projection P. Here
    P is on the principal components, so that little is left of a row.

    Attributes:
        vectors: float16 (n, d), all of them.
        rows: (m,) those that are meant, with directions; below they are numbered from 0 to m.
        short: float32 (m, c), Px and |x - Px| of each; the unit rows where d is no more than c.
        floor: products below it belong to cosines below the threshold.
        is_bound: whether products may lie above cosines.
    """

    vectors: Vectors
    rows: Ints
    short: Floats
    floor: float
    is_bound: bool

    @classmethod
    def of(cls, vectors: Vectors, rows: Ints, threshold: float) -> ShortRows:
        """Shortens rows for pairs whose cosine reaches a threshold."""
        channels = vectors.shape[1]
        error = product_error(channels)
        if channels <= _COMPONENTS + 1:
            units, _ = unit_rows(vectors[rows])
            return cls(vectors, rows, units, threshold - error, False)
        chosen = np.sort(np.random.default_rng(0).permutation(rows)[:_SAMPLE])
        sample = unit_rows(vectors[chosen])[0].astype(np.float64)
        basis = np.linalg.eigh(sample.T @ sample)[1][:, -_COMPONENTS:].astype(np.float32)
        short: Floats = np.zeros((len(rows), _COMPONENTS + 1), np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            components = unit_rows(vectors[rows[start : start + BLOCK_ROWS]])[0] @ basis
            left = 1 - np.einsum("nd,nd->n", components, components)
            here = short[start : start + len(components)]
            here[:, :-1] = components
            # Added before the root, so that rounding lowers no bound.
            here[:, -1] = np.sqrt(np.clip(left, 0, None) + error)
        return cls(vectors, rows, short, threshold - error, True)

    def near(self, left: Ints, right: Ints) -> tuple[Ints, Ints]:
        """Pairs of places in two lists of rows; those that are left out are below the threshold."""
        products = self.short[left] @ self.short[right].T
        hits = np.flatnonzero(products >= self.floor)
        if self.is_bound and len(hits) > _SPARSE * products.size:
            ours, theirs = (unit_rows(self.vectors[self.rows[each]])[0] for each in (left, right))
            hits = np.flatnonzero(ours @ theirs.T >= self.floor)
        return hits // len(right), hits % len(right)
