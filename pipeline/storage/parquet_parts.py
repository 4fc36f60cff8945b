"""Writes a table as numbered Parquet files of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.location import Location

_ROWS_AT_ONCE = 10_000


class PartWriter:
    """Writes tables to `part-00000.parquet` and so on in a folder, after deleting such files in it.

    A file ends after `rows_per_file` rows or a few more. An empty table gives one file with its
    schema. Use it as a context manager: its files are complete when the block ends. On local disk
    an incomplete file never appears.
    """

    def __init__(self, folder: Location, schema: pa.Schema, rows_per_file: int) -> None:
        folder.delete_parts()
        self._filesystem, self._path = folder.filesystem()
        self._filesystem.create_dir(self._path, recursive=True)
        self._schema = schema
        self._rows_per_file = rows_per_file
        self._files = 0
        self._rows = 0
        self._stream: pa.NativeFile | None = None
        self._file: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Adds rows; their columns must be those of the schema."""
        if self._file is None:
            path = f"{self._path}/part-{self._files:05d}.parquet"
            # A garbage-collected writer would close, and so commit, a file that it opened itself.
            self._stream = self._filesystem.open_output_stream(path)
            self._file = pq.ParquetWriter(self._stream, self._schema, compression="zstd")
            self._files += 1
            self._rows = 0
        self._file.write_table(table.replace_schema_metadata(self._schema.metadata))
        self._rows += table.num_rows
        if self._rows >= self._rows_per_file:
            self._end_file()

    def write_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Adds rows, with at most a few thousand in memory."""
        remaining: Iterator[dict[str, Any]] = iter(rows)
        while part := list(islice(remaining, _ROWS_AT_ONCE)):
            self.write(pa.Table.from_pylist(part, schema=self._schema))

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None and self._files == 0:
            self.write(self._schema.empty_table())
        self._end_file()

    def _end_file(self) -> None:
        if self._file is not None and self._stream is not None:
            self._file.close()
            self._stream.close()
            self._file = self._stream = None
