"""A few rows out of a table of any size, by what stands in one of its columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.storage.location import Location


def rows_with(
    table: Location, column: str, values: Collection[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The rows of a folder of Parquet files in which a text column has one of some values.

    Row groups whose statistics rule the values out are not read, and of the others only `column`
    unless they hold one. Memory is that of one row group's `columns`.

    Args:
        table: the folder.
        column: the column to look in.
        values: what to look for.
        columns: the columns to give.

    Yields:
        The rows of one row group at a time, none that is empty, in the order of the files.

    Raises:
        OSError, pyarrow.ArrowException: a file cannot be read.
    """
    wanted = pa.array(sorted(values), pa.string())
    for file in table.files(".parquet"):
        filesystem, path = file.filesystem()
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            place = parquet.schema_arrow.names.index(column)
            for number in range(parquet.num_row_groups):
                if not _may_hold(parquet.metadata.row_group(number), place, column, wanted):
                    continue
                found = pc.is_in(parquet.read_row_group(number, [column])[column], wanted)
                if pc.any(found).as_py():
                    yield parquet.read_row_group(number, list(columns)).filter(found)


def _may_hold(group: pq.RowGroupMetaData, place: int, name: str, wanted: pa.Array) -> bool:
    """Whether the statistics of a row group leave room for one of the values."""
    column = group.column(place)
    statistics = column.statistics
    if column.path_in_schema != name or statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= value <= statistics.max for value in wanted.to_pylist())
