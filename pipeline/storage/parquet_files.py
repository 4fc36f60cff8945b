"""Opens a Parquet file on any store, of which only what is wanted is read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.location import Location
from pipeline.storage.object_ranges import object_by_ranges


def parquet_file(location: Location) -> pq.ParquetFile:
    """An open Parquet file; use it as a context manager.

    Of an object, the footer and the columns that are read are fetched, by ranges. Reads must not be
    buffered ahead (`pre_buffer`): Arrow would do that in threads of its own, and a thread that
    needs Python while the process ends aborts it.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        pyarrow.ArrowException: it is no Parquet file.
    """
    if location.is_object:
        return pq.ParquetFile(object_by_ranges(location.uri), pre_buffer=False)
    filesystem, path = location.filesystem()
    return pq.ParquetFile(path, filesystem=filesystem)


def read_parquet(location: Location, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a Parquet file; `columns` None for all. Errors are those of `parquet_file`."""
    with parquet_file(location) as file:
        return file.read(columns=None if columns is None else list(columns))
