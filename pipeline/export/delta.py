"""Delta Lake: a table per folder, partitioned by date."""

from __future__ import annotations

from typing import Any

import deltalake

from pipeline.export.tables import DATE, RUN_ID, ExportTable
from pipeline.storage.location import Location
from sta.transport.aws import library_options


def exists(place: Location) -> bool:
    """Whether there is a table."""
    return bool(
        deltalake.DeltaTable.is_deltatable(place.uri, storage_options=library_options(place.uri))
    )


def write(place: Location, table: ExportTable, *, append: bool) -> None:
    """Writes a table in one commit, in place of one that is there.

    `append`: in a table that is there, in place of this run's rows alone.
    """
    how: dict[str, Any] = {"schema_mode": "overwrite", "partition_by": [DATE]}
    if append and exists(place):
        how = {"predicate": f"{RUN_ID} = '{table.run_id}'"}
    options = library_options(place.uri)
    deltalake.write_deltalake(
        place.uri, table.reader(), mode="overwrite", storage_options=options, **how
    )
