"""The units that a run is to label: those of its manifest, or a sample of them.

A unit's id is a hash, so the units whose id is below a limit are a random sample of all, whatever
the order of the input; a larger limit gives a larger sample that holds the smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inputs.manifest import count_rows
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.parquet_files import read_parquet


def sampled_manifest(run: RunDirectory, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of the manifest that the run is to label, file by file."""
    below = run.load().sampled_below
    for file in run.manifest.files(".parquet"):
        if below is None:
            yield read_parquet(file, columns)
            continue
        table = read_parquet(file, [*{"unit_id", *columns}])
        yield sampled(table, below).select(columns)


def sampled(table: pa.Table, below: str | None) -> pa.Table:
    """Rows with a unit_id below the limit; None for all."""
    return table if below is None else table.filter(pc.less(table["unit_id"], below))


def count_sampled(run: RunDirectory) -> int:
    """Number of units that the run is to label."""
    if run.load().sampled_below is None:
        return count_rows(run.manifest)
    return sum(table.num_rows for table in sampled_manifest(run, ["unit_id"]))
