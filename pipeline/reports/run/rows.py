"""Columns of a run's tables, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file

_ROWS = 16_384


def column_batches(
    folder: Location, schema: pa.Schema, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Columns `names` of all files of a folder; null where a file of an older run lacks one."""
    fields = [schema.field(name) for name in names]
    for file in folder.files(".parquet"):
        with parquet_file(file) as opened:
            there = set(opened.schema_arrow.names)
            wanted = [name for name in names if name in there]
            for batch in opened.iter_batches(batch_size=_ROWS, columns=wanted):
                columns = [
                    batch[field.name].cast(field.type)
                    if field.name in there
                    else pa.nulls(batch.num_rows, field.type)
                    for field in fields
                ]
                yield pa.RecordBatch.from_arrays(columns, names=list(names))
