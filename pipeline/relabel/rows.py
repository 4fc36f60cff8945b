"""The rows of units/ with the labels that a head gives to the embeddings of their views."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sta.heads import LinearHead
from workers.embeddings import vectors_of
from workers.inference.top_classes import top_classes_each
from workers.schema import EMBEDDING, SHADOW, UNITS_SCHEMA

Floats = npt.NDArray[np.floating]

# What the earlier run paid, and nobody pays again.
_PAID = {"decode_ms": 0.0, "bytes_read": 0, "attempts": 0}


def relabeled(
    units: pa.Table, head: LinearHead, *, keep_embeddings: bool, now: datetime.datetime
) -> pa.Table:
    """The rows with the labels of a head, as labeling the videos with it would have made them.

    Failed units stay as they are. What the rows say of the video and of its kept tokens stays; what
    labeling costs is that of the head. `device_ms` is null, since it is known only afterwards: see
    `with_device_ms`.

    Args:
        units: a table of UNITS_SCHEMA with embeddings.
        head: fits their features.
        keep_embeddings: whether the new rows have the embeddings too.
        now: time of the new rows, UTC.

    Raises:
        ValueError: a view has no embedding.
    """
    units = units.combine_chunks()
    views = units["views"].combine_chunks()
    entries = views.flatten()
    parents = np.asarray(pc.list_parent_indices(views)).astype(np.int64)
    each: Floats = np.zeros((0, len(head.labels)), np.float32)
    if len(entries):
        each = head.probabilities(vectors_of(entries.field(EMBEDDING)))
    counts = np.bincount(parents, minlength=len(units))
    labeled = counts > 0
    # As EvaluatedViews.mean_probabilities adds them up.
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    mean = np.stack(
        [
            each[start : start + count].mean(axis=0, dtype=np.float64)
            for start, count in zip(starts[labeled], counts[labeled], strict=True)
        ]
        or [np.zeros(len(head.labels))]
    )[: int(labeled.sum())]
    columns = {name: units[name] for name in units.schema.names}
    columns |= _spread(_predictions(head.labels, mean), labeled)
    columns |= _spread({"scores": _lists(mean, pa.float32())}, labeled)
    columns["flops"] = pa.array(counts * head.flops, mask=~labeled)
    columns |= {name: pa.array([value] * len(units)) for name, value in _PAID.items()}
    for name in ("margins", "device_ms", "unpruned_scores", *(part.name for part in SHADOW)):
        columns[name] = pa.nulls(len(units), UNITS_SCHEMA.field(name).type)
    columns["labeled_at"] = pa.array([now] * len(units), UNITS_SCHEMA.field("labeled_at").type)
    columns["views"] = _views(views, head, each, keep_embeddings=keep_embeddings)
    arrays = [_cast(columns[field.name], field.type) for field in UNITS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=UNITS_SCHEMA)


def with_device_ms(units: pa.Table, seconds: float) -> pa.Table:
    """The rows, with `seconds` of CPU time divided evenly among their views."""
    views = units["views"].combine_chunks()
    counts = np.asarray(pc.fill_null(pc.list_value_length(views), 0))
    ms = 1e3 * seconds / max(1, int(counts.sum()))
    total = pa.array(counts * ms, mask=counts == 0)
    entries = views.flatten()
    fields = {field.name: entries.field(field.name) for field in entries.type}
    fields["device_ms"] = pa.array(np.full(len(entries), ms))
    nested = _nested(views, pa.StructArray.from_arrays([*fields.values()], fields=[*entries.type]))
    for name, column in (("device_ms", total), ("views", nested)):
        place = units.schema.get_field_index(name)
        units = units.set_column(place, units.schema.field(place), column)
    return units


def _views(
    views: pa.ListArray, head: LinearHead, probabilities: Floats, *, keep_embeddings: bool
) -> pa.ListArray:
    entries = views.flatten()
    fields = {field.name: entries.field(field.name) for field in entries.type}
    fields |= _predictions(head.labels, probabilities)
    fields["flops"] = pa.array(np.full(len(entries), head.flops))
    emptied = ["device_ms", "unpruned_label_id", *([] if keep_embeddings else [EMBEDDING])]
    fields |= {name: pa.nulls(len(entries), entries.type.field(name).type) for name in emptied}
    arrays = [_cast(fields[field.name], field.type) for field in entries.type]
    return _nested(views, pa.StructArray.from_arrays(arrays, fields=[*entries.type]))


def _nested(views: pa.ListArray, entries: pa.StructArray) -> pa.ListArray:
    """The entries in lists as long as those of `views`."""
    counts = np.asarray(pc.fill_null(pc.list_value_length(views), 0))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), entries, type=views.type, mask=views.is_null()
    )


def _predictions(labels: Sequence[str], probabilities: Floats) -> dict[str, pa.Array]:
    """The columns of PREDICTION for n rows of probabilities (n, classes)."""
    ids, scores = top_classes_each(probabilities)
    best = pa.array(ids[:, 0], pa.int32())
    return {
        "label": pa.array(list(labels), pa.string()).take(best),
        "label_id": best,
        "score": pa.array(scores[:, 0]).cast(pa.float32()),
        "top_ids": _lists(ids, pa.int32()),
        "top_scores": _lists(scores, pa.float32()),
    }


def _lists(rows: npt.NDArray[np.generic], kind: pa.DataType) -> pa.ListArray:
    """The rows of an (n, k) array as n lists."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.reshape(-1)).cast(kind))


def _spread(columns: dict[str, pa.Array], labeled: npt.NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Columns of the labeled rows as columns of all rows, null for the others."""
    places = pa.array(np.where(labeled, np.cumsum(labeled) - 1, 0), pa.int32(), mask=~labeled)
    return {name: column.take(places) for name, column in columns.items()}


def _cast(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if column.type == kind else column.cast(kind)
