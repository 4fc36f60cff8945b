"""CSV: a file per table, with a header; entries of a list are divided by `|`. Embeddings, which are
hundreds of numbers each, are left out.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline.export.tables import ExportTable
from pipeline.export.text_files import written
from pipeline.storage.location import Location
from workers.schema import EMBEDDING

_BETWEEN = "|"


def write_csv(file: Location, table: ExportTable) -> None:
    """Writes the rows of a table."""
    fields = [
        pa.field(each.name, pa.string() if pa.types.is_list(each.type) else each.type)
        for each in table.schema
        if each.name != EMBEDDING
    ]
    schema = pa.schema(fields)
    with written(file) as stream, pa_csv.CSVWriter(stream, schema) as writer:
        for batch in table.batches():
            columns = [_flat(batch[each.name]) for each in fields]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _flat(column: pa.Array) -> pa.Array:
    if not pa.types.is_list(column.type):
        return column
    return pc.binary_join(column.cast(pa.list_(pa.string())), _BETWEEN)
