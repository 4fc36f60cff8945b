"""Rows of a Lance table: videos in a column of bytes, or a list of addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pipeline.errors import UsageError
from pipeline.inputs.list_columns import check_type, columns_of
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError, Row
from pipeline.inputs.parquet_bytes import bytes_column
from pipeline.storage.location import Location
from workers.failures import UnitFailure
from workers.io.lance_part import LanceCell, lance_table

_EXTENSION = ".lance"
_BATCH_ROWS = 10_000


def is_lance(location: Location) -> bool:
    """Whether a folder or prefix is a Lance table: by its name, locally also by what it holds."""
    if location.name.lower().endswith(_EXTENSION):
        return True
    return all(os.path.isdir(os.path.join(location.uri, each)) for each in ("_versions", "data"))


def lance_rows(location: Location, options: ListOptions, unread: dict[str, None]) -> Iterator[Row]:
    """Rows of the table's newest version, to which those with bytes are pinned.

    Args:
        location: the table.
        options: of the list.
        unread: receives the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: the table cannot be read, or lance is not installed.
    """
    try:
        yield from _rows(location, options, unread)
    except NotAListError as error:
        raise UsageError(f"{location.uri} is not read as a list: {error}") from None
    except UnitFailure as failure:
        raise UsageError(f"cannot read {location.uri}: {failure.message}") from None
    except (OSError, ValueError) as error:
        found = "there is no Lance table" if "not found" in str(error) else str(error)
        raise UsageError(f"cannot read {location.uri}: {found.partition(', /')[0]}") from None


def _rows(location: Location, options: ListOptions, unread: dict[str, None]) -> Iterator[Row]:
    table = lance_table(location.uri)
    schema = table.schema
    held = bytes_column(schema, options.uri_column)
    if held is not None and held.is_struct:
        raise NotAListError(
            f"its column {held.name} is {schema.field(held.name).type}; videos in a Lance table "
            f"are one column of bytes"
        )
    columns = held.columns(schema, options) if held else columns_of(schema.names, options)
    unread.update(dict.fromkeys(columns.unread))
    for ours, theirs in columns.names.items():
        check_type(ours, schema.field(theirs))
    number = 0
    scanned: dict[str, Any] = {"columns": list(columns.names.values()), "batch_size": _BATCH_ROWS}
    if not columns.names:
        scanned["with_row_id"] = True  # without any column there are no rows
    for batch in table.scanner(**scanned, scan_in_order=True).to_batches():
        for row in batch.to_pylist():
            cells = columns.of(row)
            if held is not None:
                part = LanceCell(table.version, number, held.name)
                cells |= {"uri": location.uri, "part": str(part), "name": str(number)}
            number += 1
            yield Row(f"row {number}", cells, cells)
