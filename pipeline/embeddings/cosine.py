"""Cosines of stored features: products in float32 find candidates, and float64 decides.

A product of float32 depends on the shapes of the matrices in its last digits. The exact cosine
of a pair depends on the pair alone, so that results are the same however vectors are divided into
batches.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workers.embeddings import Vectors

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Rows in float32 at a time: 50 MB of 768 channels and their products.
BLOCK_ROWS = 8192
# Pairs whose exact cosines are computed at a time: 100 MB of 768 channels.
_PAIRS_AT_ONCE = 8192


def unit_rows(vectors: Vectors) -> tuple[Floats, Bools]:
    """(n, d) float32 rows of length 1, and (n,) which have a direction.

    Vectors that are all zero, or not finite, have none; their rows are 0.
    """
    rows = vectors.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    usable = np.isfinite(lengths) & (lengths > 0)
    rows[~usable] = 0
    rows /= np.where(usable, lengths, 1)[:, None]
    return rows, usable


def exact_cosines(first: Vectors, second: Vectors) -> Doubles:
    """(n,) cosines of the rows of two (n, d) arrays that have directions, computed in float64."""
    parts = [
        _cosines(first[start : start + _PAIRS_AT_ONCE], second[start : start + _PAIRS_AT_ONCE])
        for start in range(0, len(first), _PAIRS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0), *parts])


def product_error(channels: int) -> float:
    """How far a cosine of float32 unit rows may lie from the exact one.

    The bound for a sum in any order (N. J. Higham, Accuracy and Stability of Numerical Algorithms,
    2002, section 3.1), with the rounding of both lengths.
    """
    return float((2 * channels + 16) * np.finfo(np.float32).eps)


def _cosines(first: Vectors, second: Vectors) -> Doubles:
    one, other = first.astype(np.float64), second.astype(np.float64)
    products = (one * other).sum(axis=1)
    lengths = (one * one).sum(axis=1) * (other * other).sum(axis=1)
    return np.asarray(np.clip(products / np.sqrt(lengths), -1.0, 1.0))
