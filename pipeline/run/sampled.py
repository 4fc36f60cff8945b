"""The units that a run is to label: those of its manifest, or a sample of them.

A sample is a folder of rows of the manifest, in OUTPUT/samples, under a name that follows from its
units. run.json names the one that counts, so that a run changes its sample in one write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inputs.manifest import MANIFEST_SCHEMA, count_rows
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import FILES_AT_ONCE
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.storage.parquet_parts import PartWriter

_ROWS_PER_FILE = 100_000
_NAME_BYTES = 10


def folder_to_label(run: RunDirectory, sample: str | None) -> Location:
    """The folder with the rows of a sample; None for the manifest."""
    return run.manifest if sample is None else run.samples.child(sample)


def to_label(run: RunDirectory) -> Location:
    """The folder with the rows of the units that the run is to label."""
    return folder_to_label(run, run.load().sample)


def tables_to_label(run: RunDirectory, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of the units that the run is to label, file by file."""
    for file in to_label(run).files(".parquet"):
        yield read_parquet(file, columns)


def count_to_label(run: RunDirectory) -> int:
    """Number of units that the run is to label."""
    return count_rows(to_label(run))


def write_sample(run: RunDirectory, rows: pa.Table) -> str:
    """Writes a sample and returns its name; the run labels it once its record has that name.

    Units of the sample that the run has so far are taken along: they may have been labeled. So are
    further units that have a row, such as those of a whole run that was killed.

    Args:
        run: a run that exists.
        rows: of its manifest.
    """
    before = run.load().sample
    if before is not None:
        rows = _united(rows, run.samples.child(before))
    rows = _with_labeled(rows, run)
    rows = rows.select(MANIFEST_SCHEMA.names).cast(MANIFEST_SCHEMA)
    digest = hashlib.blake2b(digest_size=_NAME_BYTES)
    for unit_id in sorted(rows["unit_id"].to_pylist()):
        digest.update(unit_id.encode())
    name = digest.hexdigest()
    if name != before:
        with PartWriter(run.samples.child(name), MANIFEST_SCHEMA, _ROWS_PER_FILE) as parts:
            for first in range(0, rows.num_rows, _ROWS_PER_FILE):
                parts.write(rows.slice(first, _ROWS_PER_FILE))
    return name


def copy_sample(source: RunDirectory, run: RunDirectory, sample: str | None) -> None:
    """Copies a sample of a run to another run over the same manifest."""
    if sample is not None:
        for part in source.samples.child(sample).files(".parquet"):
            run.samples.child(sample).child(part.name).write_bytes(part.read_bytes())


def delete_sample(run: RunDirectory, sample: str | None) -> None:
    """Deletes a sample that the run's record does not name any more."""
    if sample is not None:
        run.samples.child(sample).delete_parts()
        run.samples.child(sample).delete_empty()
        run.samples.delete_empty()


def holds(run: RunDirectory, rows: pa.Table) -> bool:
    """Whether the units that the run is to label hold those of other rows of its manifest."""
    sample = run.load().sample
    if sample is None:
        return True
    left = set(rows["unit_id"].to_pylist())
    for table in tables_to_label(run, ["unit_id"]):
        left.difference_update(table["unit_id"].to_pylist())
    return not left


def _united(rows: pa.Table, before: Location) -> pa.Table:
    held = rows["unit_id"].combine_chunks()
    further = [
        _without(read_parquet(file, MANIFEST_SCHEMA.names), held)
        for file in before.files(".parquet")
    ]
    return _joined(rows, *further)


def _with_labeled(rows: pa.Table, run: RunDirectory) -> pa.Table:
    held = rows["unit_id"].combine_chunks()

    def beyond(file: Location) -> pa.Table:
        return _without(read_parquet(file, ["unit_id"]), held)

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        labeled = list(pool.map(beyond, run.units.files(".parquet")))
    ids = [chunk for table in labeled for chunk in table["unit_id"].chunks]
    if not any(map(len, ids)):
        return rows
    missing = pa.chunked_array(ids).combine_chunks()
    parts = (read_parquet(file, MANIFEST_SCHEMA.names) for file in run.manifest.files(".parquet"))
    further = [part.filter(pc.is_in(part["unit_id"], value_set=missing)) for part in parts]
    return _joined(rows, *further)


def _without(table: pa.Table, held: pa.Array) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["unit_id"], value_set=held)))


def _joined(*tables: pa.Table) -> pa.Table:
    parts = [table.select(MANIFEST_SCHEMA.names) for table in tables]
    return pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
