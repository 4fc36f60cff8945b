"""Apache Iceberg: tables of a catalog, partitioned by date.

Without a catalog's name, DEST is a local folder with a catalog of its own: `default`, in the SQLite
file `catalog.db`, with the namespace `labels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.expressions import AlwaysTrue, EqualTo
from pyiceberg.transforms import IdentityTransform

from pipeline.errors import UsageError
from pipeline.export.tables import DATE, RUN_ID, ExportTable
from pipeline.storage.location import Location

CATALOG_FILE = "catalog.db"
CATALOG, NAMESPACE = "default", "labels"
_BATCHES_AT_ONCE = 20  # of 10,000 rows, in a data file each


class IcebergTables:
    """The tables of one namespace.

    Attributes:
        namespace: its name.
    """

    def __init__(self, dest: str, catalog: str | None) -> None:
        self._catalog, self.namespace = _opened(dest, catalog)

    def exists(self, table: ExportTable) -> bool:
        """Whether there is a table of this name."""
        return bool(self._catalog.table_exists(self._name(table)))

    def write(self, table: ExportTable, *, append: bool) -> None:
        """Writes a table in one transaction, in place of the rows that are there.

        `append`: in place of this run's rows alone.
        """
        self._catalog.create_namespace_if_not_exists(self.namespace)
        name = self._name(table)
        if self._catalog.table_exists(name):
            transaction = self._catalog.load_table(name).transaction()
            mine = EqualTo(RUN_ID, table.run_id) if append else AlwaysTrue()
            with warnings.catch_warnings(action="ignore"):  # where there is nothing to delete
                transaction.delete(mine)
        else:
            transaction = self._catalog.create_table_transaction(name, table.schema)
            with transaction.update_spec() as spec:
                spec.add_field(DATE, IdentityTransform(), DATE)
        for part in _parts(table):
            transaction.append(part)
        transaction.commit_transaction()

    def _name(self, table: ExportTable) -> str:
        return f"{self.namespace}.{table.name}"


def _parts(table: ExportTable) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in table.batches():
        waiting.append(batch)
        if len(waiting) == _BATCHES_AT_ONCE:
            yield pa.Table.from_batches(waiting, table.schema)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting, table.schema)


def _opened(dest: str, catalog: str | None) -> tuple[Catalog, str]:
    if catalog is not None:
        try:
            return load_catalog(catalog), dest
        except ValueError as error:
            raise UsageError(
                f"--catalog {catalog}: {error}; configure the catalog in .pyiceberg.yaml, or in "
                f"PYICEBERG_CATALOG__{catalog.upper()}__URI"
            ) from error
    place = Location.of(dest)
    if place.is_object:
        raise UsageError(
            f"{dest}: without --catalog DEST is a local folder; for tables in object storage, name "
            f"a catalog, and its namespace as DEST"
        )
    folder = Path(place.uri)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "type": "sql",
        "uri": f"sqlite:///{folder / CATALOG_FILE}",
        "warehouse": folder.as_uri(),
    }
    return load_catalog(CATALOG, **settings), NAMESPACE
