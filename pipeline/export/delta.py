"""Delta Lake: a table per folder, partitioned by date."""

from __future__ import annotations

from typing import Any

import deltalake

from pipeline.export.object_stores import storage_options
from pipeline.export.tables import DATE, RUN_ID, ExportTable
from pipeline.storage.location import Location


def exists(place: Location) -> bool:
    """Whether there is a table."""
    return bool(
        deltalake.DeltaTable.is_deltatable(place.uri, storage_options=storage_options(place))
    )


def write(place: Location, table: ExportTable, *, append: bool) -> None:
    """Writes a table in one commit, in place of one that is there.

    `append`: in a table that is there, in place of this run's rows alone.
    """
    how: dict[str, Any] = {"schema_mode": "overwrite", "partition_by": [DATE]}
    if append and exists(place):
        how = {"predicate": f"{RUN_ID} = '{table.run_id}'"}
    options = storage_options(place)
    deltalake.write_deltalake(
        place.uri, table.reader(), mode="overwrite", storage_options=options, **how
    )
