"""Lance: a dataset per folder, its rows in the order of the run. Lance has no partitions."""

from __future__ import annotations

import lance

from pipeline.export.tables import RUN_ID, ExportTable
from pipeline.storage.location import Location
from sta.transport.aws import library_options


def exists(place: Location) -> bool:
    """Whether there is a dataset."""
    return place.child("_versions").exists()


def write(place: Location, table: ExportTable, *, append: bool) -> None:
    """Writes a dataset in one version, in place of one that is there.

    `append`: adds the rows to a dataset that is there. This run's own rows are deleted first, in a
    version of their own, so that a second export does not double them.
    """
    options = library_options(place.uri)
    mode = "overwrite" if exists(place) else "create"
    if append and mode == "overwrite":
        old = lance.dataset(place.uri, storage_options=options)
        old.delete(f"{RUN_ID} = '{table.run_id}'")
        mode = "append"
    lance.write_dataset(table.reader(), place.uri, mode=mode, storage_options=options)
