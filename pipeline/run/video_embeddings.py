"""The mean embedding of each video, from those of its views."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workers.embeddings import lists_of, vectors_of
from workers.schema import EMBEDDING

Sums = npt.NDArray[np.float64]


def embedding_sums(units: pa.Table, channels: int) -> Sums:
    """(units, d) sum of the embeddings of each unit's views; 0 for a unit without views."""
    views = units["views"].combine_chunks()
    sums = np.zeros((len(units), channels))
    entries = views.flatten()
    if len(entries):
        vectors = vectors_of(entries.field(EMBEDDING)).astype(np.float64)
        np.add.at(sums, np.asarray(pc.list_parent_indices(views)), vectors)
    return sums


def means(sums: Sums, counts: npt.NDArray[np.integer]) -> pa.Array:
    """Float16 lists of the sums divided by the counts; null where the count is 0."""
    with_views = counts > 0
    lists = lists_of((sums[with_views] / counts[with_views, None]).astype(np.float16))
    places = np.where(with_views, np.cumsum(with_views) - 1, -1)
    return lists.take(pa.array(places, pa.int32(), mask=~with_views))
