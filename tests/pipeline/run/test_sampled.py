"""A run of a sample: its manifest, tables and checks are those of the units below a limit."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunError
from pipeline.inputs.manifest import unit_id
from pipeline.run.sampled import count_sampled, sampled_manifest
from pipeline.run.slices import Slice, slice_numbers
from pipeline.run.tables import build_tables
from pipeline.verify.verify import verify
from tests.embedding_runs import embedding_run
from tests.pipeline.run.test_tables import ok
from workers.schema import UNITS_SCHEMA

NAMES = sorted("abcdefgh", key=unit_id)
# Between the third and the fourth of the eight.
BELOW = unit_id(NAMES[3])[:12]


@pytest.fixture
def run(tmp_path):
    """A run that labeled the three units below BELOW, of eight."""
    made = embedding_run(tmp_path, [ok(name) for name in NAMES], clips=1)
    rows = [ok(name, views=1) for name in NAMES[:3]]
    file = f"{made.units.uri}/x_000000-0.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=UNITS_SCHEMA), file)
    ids = pa.table({"unit_id": [row["unit_id"] for row in rows]})
    pq.write_table(ids, f"{made.checkpoint.uri}/x_000000.parquet")
    made.save(dataclasses.replace(made.load(), sampled_below=BELOW))
    return made


def test_the_sample_is_the_units_below_the_limit_as_a_slice_has_them(run):
    (table,) = sampled_manifest(run, ["video_id"])
    assert sorted(table["video_id"].to_pylist(), key=unit_id) == NAMES[:3]
    assert count_sampled(run) == 3
    numbers = slice_numbers([unit_id(name) for name in NAMES], [Slice.below(BELOW)])
    assert numbers.tolist() == [0] * 3 + [-1] * 5


def test_without_a_limit_every_unit_is_to_be_labeled(run):
    run.save(dataclasses.replace(run.load(), sampled_below=None))
    assert count_sampled(run) == 8
    with pytest.raises(RunError, match="the manifest has 8"):
        build_tables(run)


def test_tables_of_the_sample_are_whole_and_pass_the_checks(run):
    totals = build_tables(run)
    assert (totals.videos, totals.units) == (3, 3)
    run.save(dataclasses.replace(run.load(), totals=totals))
    assert [check for check in verify(run) if check.problem] == []


def test_a_unit_beyond_the_limit_and_one_that_is_missing_are_found(run):
    lower = unit_id(NAMES[2])[:12]
    run.save(dataclasses.replace(run.load(), sampled_below=lower))
    assert any("1 units are not in the manifest" in (each.problem or "") for each in verify(run))
    higher = unit_id(NAMES[4])[:12]
    run.save(dataclasses.replace(run.load(), sampled_below=higher))
    assert any("1 units have no row" in (each.problem or "") for each in verify(run))
