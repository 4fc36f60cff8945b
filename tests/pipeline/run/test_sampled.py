"""A run of a sample: its tables and checks are those of the sample's units."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunError
from pipeline.inputs.manifest import unit_id
from pipeline.run.sampled import (
    copy_sample,
    count_to_label,
    delete_sample,
    holds,
    tables_to_label,
    write_sample,
)
from pipeline.run.tables import build_tables
from pipeline.storage.parquet_files import read_parquet
from pipeline.verify.verify import verify
from tests.embedding_runs import embedding_run
from tests.pipeline.run.test_tables import ok
from workers.schema import UNITS_SCHEMA

NAMES = sorted("abcdefgh", key=unit_id)


def rows_of(run, names):
    """Rows of the manifest of some videos."""
    every = pa.concat_tables(read_parquet(file) for file in run.manifest.files(".parquet"))
    return every.filter(pc.is_in(every["video_id"], value_set=pa.array(list(names))))


def sampled(run, names):
    """The run with a sample of some videos in its record, in place of the one before."""
    run.save(dataclasses.replace(run.load(), sample=None))
    run.save(dataclasses.replace(run.load(), sample=write_sample(run, rows_of(run, names))))


@pytest.fixture
def run(tmp_path):
    """A run that labeled a sample of three units, of eight."""
    made = embedding_run(tmp_path, [ok(name) for name in NAMES], clips=1)
    rows = [ok(name, views=1) for name in NAMES[:3]]
    file = f"{made.units.uri}/x_000000-0.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=UNITS_SCHEMA), file)
    ids = pa.table({"unit_id": [row["unit_id"] for row in rows]})
    pq.write_table(ids, f"{made.checkpoint.uri}/x_000000.parquet")
    sampled(made, NAMES[:3])
    return made


def test_the_units_to_label_are_those_of_the_sample(run):
    (table,) = tables_to_label(run, ["video_id"])
    assert sorted(table["video_id"].to_pylist(), key=unit_id) == NAMES[:3]
    assert count_to_label(run) == 3


def test_without_a_sample_every_unit_is_to_be_labeled(run):
    run.save(dataclasses.replace(run.load(), sample=None))
    assert count_to_label(run) == 8
    with pytest.raises(RunError, match="the manifest has 8"):
        build_tables(run)


def test_tables_of_the_sample_are_whole_and_pass_the_checks(run):
    totals = build_tables(run)
    assert (totals.videos, totals.units) == (3, 3)
    run.save(dataclasses.replace(run.load(), totals=totals))
    assert [check for check in verify(run) if check.problem] == []


def test_a_unit_beyond_the_sample_and_one_that_is_missing_are_found(run):
    (file,) = run.samples.child(run.load().sample).files(".parquet")
    pq.write_table(rows_of(run, NAMES[:2]), file.uri)
    assert any("1 units are not in the manifest" in (each.problem or "") for each in verify(run))
    sampled(run, NAMES[:4])
    assert any("1 units have no row" in (each.problem or "") for each in verify(run))


def test_a_further_sample_takes_the_units_along_that_may_be_labeled(run):
    name = write_sample(run, rows_of(run, NAMES[2:5]))
    run.save(dataclasses.replace(run.load(), sample=name))
    assert count_to_label(run) == 5


def test_a_sample_after_a_whole_run_that_was_killed_takes_along_what_that_had_labeled(run):
    run.save(dataclasses.replace(run.load(), sample=None))
    name = write_sample(run, rows_of(run, NAMES[2:5]))
    run.save(dataclasses.replace(run.load(), sample=name))
    assert count_to_label(run) == 5


def test_a_sample_is_named_by_its_units_and_written_once(run):
    before = run.load().sample
    (file,) = run.samples.child(before).files(".parquet")
    written = Path(file.uri).stat().st_mtime_ns
    assert write_sample(run, rows_of(run, NAMES[1:3])) == before
    assert Path(file.uri).stat().st_mtime_ns == written
    assert write_sample(run, rows_of(run, NAMES[:4])) != before


def test_a_run_holds_the_units_of_its_sample_and_after_a_whole_run_all(run):
    assert holds(run, rows_of(run, NAMES[:2]))
    assert not holds(run, rows_of(run, NAMES[2:4]))
    run.save(dataclasses.replace(run.load(), sample=None))
    assert holds(run, rows_of(run, NAMES))


def test_a_sample_is_copied_to_a_run_over_the_same_manifest_and_deleted(run, tmp_path):
    other = embedding_run(tmp_path / "other", [ok(name) for name in NAMES], clips=1)
    sample = run.load().sample
    copy_sample(run, other, sample)
    other.save(dataclasses.replace(other.load(), sample=sample))
    assert count_to_label(other) == 3
    other.save(dataclasses.replace(other.load(), sample=None))
    delete_sample(other, sample)
    assert not other.samples.exists()
