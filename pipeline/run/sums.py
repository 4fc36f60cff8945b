"""Sums over columns of a run's tables that are exact and do not depend on the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

_LOW_BITS = 32


def total(values: pa.Array | pa.ChunkedArray) -> Any:
    """The sum of the values that are not null; 0 if there are none."""
    return pc.sum(values, min_count=0).as_py()


def filled(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """(n,) the values, with 0 for null."""
    return np.asarray(pc.fill_null(values, 0))


def exact_sum(values: Ints) -> int:
    """The exact sum of (n,) int64: FLOPs of many long recordings exceed 2^63."""
    low = int((values & (2**_LOW_BITS - 1)).sum(dtype=np.int64))
    return (int((values >> _LOW_BITS).sum(dtype=np.int64)) << _LOW_BITS) + low


def nanoseconds(values: pa.Array | pa.ChunkedArray, per_unit: float) -> Ints:
    """(n,) times in integer nanoseconds, 0 for null; one unit of `values` is `per_unit` of them.

    Each time is rounded before it is added, since sums of floats depend on their order.
    """
    return np.floor(filled(values) * per_unit + 0.5).astype(np.int64)
