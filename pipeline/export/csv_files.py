"""CSV: a file per table, with a header; entries of a list are divided by `|`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline.export.tables import ExportTable
from pipeline.export.text_files import written
from pipeline.storage.location import Location

_BETWEEN = "|"


def write_csv(file: Location, table: ExportTable) -> None:
    """Writes the rows of a table."""
    fields = [
        pa.field(each.name, pa.string() if pa.types.is_list(each.type) else each.type)
        for each in table.schema
    ]
    schema = pa.schema(fields)
    with written(file) as stream, pa_csv.CSVWriter(stream, schema) as writer:
        for batch in table.batches():
            columns = [_flat(column) for column in batch.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _flat(column: pa.Array) -> pa.Array:
    if not pa.types.is_list(column.type):
        return column
    return pc.binary_join(column.cast(pa.list_(pa.string())), _BETWEEN)
