"""Writes what a search found: a page, a Parquet table, and JSON where it is asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.formatting import json_text
from pipeline.storage.location import Location


@dataclass(frozen=True)
class SearchFiles:
    """Where results are written.

    Attributes:
        folder: local or s3://.
        stem: of the names of the page and the table.
        json: a further file for the results as JSON; None for none.
    """

    folder: Location
    stem: str
    json: Location | None = None

    @property
    def page(self) -> Location:
        """The page."""
        return self.folder.child(f"{self.stem}.html")

    @property
    def table(self) -> Location:
        """The rows as Parquet."""
        return self.folder.child(f"{self.stem}.parquet")

    def check_writable(self) -> None:
        """Refuses a folder that cannot be written to, before any work.

        Raises:
            UsageError: no file can be written.
        """
        self.folder.check_writable()

    def write(
        self, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, about: Mapping[str, Any]
    ) -> None:
        """Writes the table and the JSON.

        Args:
            rows: of the table, and of "rows" in the JSON.
            schema: of the table.
            about: the other fields of the JSON, and the table's metadata.

        Raises:
            UsageError: a file cannot be written.
        """
        stream = io.BytesIO()
        said = {name: json_text(value, indent=0) for name, value in about.items()}
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        pq.write_table(table.replace_schema_metadata(said), stream, compression="zstd")
        self._write(self.table, stream.getvalue())
        if self.json is not None:
            text = json_text({"version": 1, **about, "rows": list(rows)})
            self._write(self.json, f"{text}\n".encode())

    def write_page(self, html: str) -> None:
        """Writes the page.

        Raises:
            UsageError: it cannot be written.
        """
        self._write(self.page, html.encode())

    def _write(self, file: Location, content: bytes) -> None:
        try:
            file.write_bytes(content)
        except OSError as error:
            raise UsageError(f"cannot write {file.uri}: {error}") from error
