"""--decoders auto: a sample that is spread and done once, and a pool that follows from it."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.execution.autosize import (
    Remaining,
    discard_sample,
    fitted_decoders,
    recorded,
    sample_size,
    with_rates,
    write_sample,
)
from pipeline.execution.pools import plan_pools
from pipeline.execution.stage_stats import Stage, Stages
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.run.run_directory import OpenRun, RunDirectory
from pipeline.storage.location import Location
from tests.rooms import GPU
from tests.run_records import run_record
from workers.sampling import protocol

WINDOW = {"units": 100, "began": 0.0, "ended": 40.0}
RATES = Stages(
    Stage(actors=8, busy_s=50.0, cpu_s=50.0, **WINDOW),
    Stage(actors=1, busy_s=20.0, cpu_s=20.0, views=1500, slots=1500, **WINDOW),
)


@pytest.fixture
def run(tmp_path):
    """A run of 1,000 units in four files of its manifest."""
    made = RunDirectory(Location.of(str(tmp_path / "out")))
    folder = tmp_path / "out" / "manifest"
    folder.mkdir(parents=True)
    for part in range(4):
        rows = [
            {"unit_id": f"{at:04d}", "video_id": f"{at:04d}", "uri": f"/{at}"}
            for at in range(250 * part, 250 * (part + 1))
        ]
        table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
        pq.write_table(table, folder / f"part-{part:05d}.parquet")
    made.save(run_record())
    return made


def fitted(run, *, left=1000, measure=None, said=None):
    return fitted_decoders(
        OpenRun(run, run.load()),
        Remaining(total=1000, done=1000 - left, what="videos"),
        sample=100,
        capacity=GPU,
        measure=measure or (lambda sample: RATES),
        say=(said if said is not None else []).append,
    )


def test_the_sample_is_spread_over_the_manifest_each_unit_once(run):
    sample = write_sample(run, 10)
    ids = [int(row) for file in sample.files(".parquet") for row in ids_of(file)]
    assert len(set(ids)) == 10
    gaps = [b - a for a, b in zip(sorted(ids), sorted(ids)[1:], strict=False)]
    assert max(gaps) < 200
    assert min(ids) < 150
    assert max(ids) >= 850


def ids_of(file):
    filesystem, path = file.filesystem()
    return pq.read_table(path, filesystem=filesystem)["unit_id"].to_pylist()


def test_a_sample_of_more_than_there_are_is_all_of_them(run):
    sample = write_sample(run, 5000)
    assert sum(len(ids_of(file)) for file in sample.files(".parquet")) == 1000


def test_the_pool_follows_from_the_rates_and_the_arithmetic_is_said(run):
    said, seen = [], []

    def measure(sample):
        seen.append(sum(len(ids_of(file)) for file in sample.files(".parquet")))
        return RATES

    assert fitted(run, measure=measure, said=said) == 3
    assert seen == [100]
    assert said == [
        "--decoders auto: measuring 100 of 1,000 videos.",
        "--decoders auto: 1 labeler x 5 videos/s / 2 of a decoder x 1.15 = 3 decoders.",
    ]
    assert not run.root.child("_sample").exists()


def test_a_later_attempt_takes_what_was_measured_before(run):
    fitted(run)

    def measure(sample):
        raise AssertionError("it was measured")

    assert fitted(run, left=10, measure=measure) == 3


def test_what_a_small_rest_took_does_not_replace_what_more_units_told(run):
    record = run_record()
    for units in (100, 2, 300):
        stages = dataclasses.replace(RATES, label=dataclasses.replace(RATES.label, units=units))
        record = with_rates(record, stages, GPU)
        assert recorded(record, GPU).label.units == max(units, 100)


def test_a_sample_that_a_killed_attempt_left_is_discarded(run):
    discard_sample(run)
    write_sample(run, 10)
    discard_sample(run)
    assert not run.root.child("_sample").exists()


def test_what_labelers_of_another_kind_did_is_no_measure(run):
    fitted(run)
    assert recorded(run.load(), GPU) == RATES
    assert recorded(run.load(), dataclasses.replace(GPU, labeler_threads=1)) is None
    other = run_record({"measured": {"threads": None, "stages": {}}})
    assert recorded(other, GPU) is None


def test_a_run_too_short_to_be_measured_takes_the_default(run):
    said = []
    assert fitted(run, left=799, said=said) is None
    assert said == [
        "--decoders auto: 799 videos are too few to measure 100 of them first; using the default."
    ]


def test_a_sample_of_failures_takes_the_default_and_is_not_kept(run):
    said = []
    assert fitted(run, measure=lambda sample: Stages(), said=said) is None
    assert said[-1].endswith("no unit of the sample could be labeled; using the default.")
    assert "measured" not in run.load().to_json()


def test_a_sample_gives_every_actor_several_full_calls():
    pools = plan_pools(cpus=16, gpus=1)
    assert sample_size(protocol("videomae-k400"), pools, 32) >= 6 * 32
    assert sample_size(protocol("videomae-k400"), pools, 32) >= 16 * pools.decoders[1]


def test_with_early_exit_a_sample_has_as_many_of_its_larger_calls():
    pools = plan_pools(cpus=16, gpus=8)
    few = sample_size(protocol("videomae-k400"), pools, 8)
    assert sample_size(protocol("videomae-k400"), pools, 8, adaptive=True) == 4 * few
