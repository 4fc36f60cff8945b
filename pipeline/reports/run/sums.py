"""Sums over Arrow columns that do not depend on the order of their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def total(values: pa.Array) -> Any:
    """The sum of what is not null, 0 of nothing."""
    return pc.sum(values, min_count=0).as_py()


def exact(values: pa.Array) -> int:
    """The sum of int64 of 0 or more, however large: by high and low halves, since Arrow's own
    sum wraps around at 2^63.
    """
    numbers = np.asarray(pc.fill_null(values, 0))
    return (int((numbers >> 32).sum()) << 32) + int((numbers & 0xFFFFFFFF).sum())


def nanoseconds(values: pa.Array, per_unit: float) -> int:
    """The sum of times of 0 or more, `per_unit` nanoseconds to one, each rounded to the nearest
    whole nanosecond before it is added: sums of floats depend on their order.
    """
    rounded = np.floor(np.asarray(pc.fill_null(values, 0.0)) * per_unit + 0.5)
    return exact(pa.array(rounded.astype(np.int64)))
