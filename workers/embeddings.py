"""The embeddings of views as an Arrow column: one float16 list per view.

pyarrow takes half a millisecond to convert a float16 array in a row of Python objects, and no time
to take the bytes of all of them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workers.schema import EMBEDDING

Vectors = npt.NDArray[np.float16]


def with_embeddings(units: pa.Table, vectors: Sequence[Vectors]) -> pa.Table:
    """The table with the embeddings of all its views.

    Args:
        units: a table of UNITS_SCHEMA.
        vectors: (d,) each, of the views of all units in their order.
    """
    views = units["views"].combine_chunks()
    entries = views.flatten()
    columns = {
        field.name: column for field, column in zip(entries.type, entries.flatten(), strict=True)
    }
    columns[EMBEDDING] = lists_of(np.stack(vectors)) if len(vectors) else columns[EMBEDDING]
    if len(columns[EMBEDDING]) != len(entries):
        raise ValueError(f"{len(entries)} views have {len(vectors)} embeddings; each needs one")
    counts = np.diff(views.offsets.to_numpy())
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    nested = pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.StructArray.from_arrays(list(columns.values()), fields=list(entries.type)),
        type=views.type,
        mask=views.is_null(),
    )
    place = units.schema.get_field_index("views")
    return units.set_column(place, units.schema.field(place), nested)


def lists_of(vectors: npt.NDArray[np.float16]) -> pa.ListArray:
    """(n, d) float16 as an Arrow array of n lists."""
    count, channels = vectors.shape
    offsets = np.arange(count + 1, dtype=np.int64) * channels
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{count:,} vectors of {channels} channels are too many for one array")
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float16())
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def vectors_of(lists: pa.Array | pa.ChunkedArray) -> Vectors:
    """Arrow lists of equal length, none null, as (n, d) float16; (0, 0) without any."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    if not len(lists):
        return np.zeros((0, 0), np.float16)
    values = lists.flatten().to_numpy(zero_copy_only=False)
    if lists.null_count or len(values) % len(lists):
        raise ValueError("embeddings must be lists of equal length, none of them null")
    return np.asarray(values.reshape(len(lists), -1), np.float16)
