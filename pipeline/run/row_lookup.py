"""Finds a few rows of a large table by the values of one column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file


def rows_with(
    table: Location, column: str, values: Collection[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Yields the rows of Parquet files in which a text column has one of some values.

    Row groups whose statistics exclude the values are not read, and of the others only `column`
    unless it has one of the values. Memory is that of one row group's `columns`.

    Args:
        table: folder of the files.
        column: name of the column to search.
        values: values to search for.
        columns: names of the columns to return.

    Yields:
        The rows of one row group at a time, never empty, in the order of the files.

    Raises:
        OSError, pyarrow.ArrowException: a file cannot be read.
    """
    wanted = pa.array(sorted(values), pa.string())
    for file in table.files(".parquet"):
        with parquet_file(file) as parquet:
            place = parquet.schema_arrow.names.index(column)
            for number in range(parquet.num_row_groups):
                if not _may_hold(parquet.metadata.row_group(number), place, column, wanted):
                    continue
                found = pc.is_in(parquet.read_row_group(number, [column])[column], wanted)
                if pc.any(found).as_py():
                    yield parquet.read_row_group(number, list(columns)).filter(found)


def _may_hold(group: pq.RowGroupMetaData, place: int, name: str, wanted: pa.Array) -> bool:
    """Whether a row group may have one of the values, by its statistics."""
    column = group.column(place)
    statistics = column.statistics
    if column.path_in_schema != name or statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= value <= statistics.max for value in wanted.to_pylist())
