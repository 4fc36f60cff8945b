"""Delta Lake: a table per folder, partitioned by date."""

from __future__ import annotations

import deltalake

from pipeline.export.tables import DATE, RUN_ID, ExportTable
from pipeline.storage.location import Location


def exists(place: Location) -> bool:
    """Whether there is a table."""
    return bool(deltalake.DeltaTable.is_deltatable(place.uri))


def write(place: Location, table: ExportTable, *, append: bool) -> None:
    """Writes a table in one commit, in place of one that is there.

    `append`: in a table that is there, in place of this run's rows alone.
    """
    if append and exists(place):
        deltalake.write_deltalake(
            place.uri,
            table.reader(),
            mode="overwrite",
            predicate=f"{RUN_ID} = '{table.run_id}'",
        )
        return
    deltalake.write_deltalake(
        place.uri,
        table.reader(),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=[DATE],
    )
