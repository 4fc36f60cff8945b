"""Rates of a finished run."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.planner.from_run import finished_run
from pipeline.planner.plan import LocalPools
from pipeline.planner.rates import EARLY_EXIT, UNPRUNED
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.planner.made_up_rates import PROTOCOL
from tests.pipeline.run.test_tables import failed, ok
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

STAGE = {"actors": 2, "began": 100.0, "ended": 150.0, "views": 0, "slots": 0}


def write_run(folder, *, pruned=True, gpu=False, shadow=0, finished=True):
    """A finished run of 40 labeled units and two failed ones."""
    run = RunDirectory(Location.of(str(folder)))
    rows = [ok(f"{n}.mp4") | {"size_bytes": 1000 * (n + 1)} for n in range(40)]
    rows += [failed("x.mp4"), failed("y.mp4")]
    (folder / "units").mkdir(parents=True)
    for part, begin in enumerate((0, 21)):
        table = pa.Table.from_pylist(rows[begin : begin + 21], schema=UNITS_SCHEMA)
        pq.write_table(table, folder / "units" / f"{part}.parquet")
    stages = {
        "decode": STAGE | {"units": 42, "busy_s": 10.5, "cpu_s": 8.4},
        "label": STAGE | {"units": 42, "busy_s": 42.0, "cpu_s": 21.0, "views": 80, "slots": 80},
    }
    run.save(
        run_record(
            {
                "identity": {
                    "protocol": dataclasses.asdict(PROTOCOL),
                    "pruning": {"r": 64 if pruned else 0},
                },
                "model": {
                    "checkpoint": "model.safetensors",
                    "flops_per_view": 100 if pruned else 200,
                    "flops_per_view_unpruned": 200,
                },
                "device": {
                    "cpu": "CPU Y",
                    "cpus": 8.0,
                    "nodes": 2,
                    "gpus": 4.0 if gpu else 0.0,
                },
                "attempts": [
                    {
                        "labeler_gpus": float(gpu),
                        "labeler_cpus": 1.0,
                        "devices": ["NVIDIA X" if gpu else "cpu: 1 thread of CPU Y"],
                    }
                ],
                "totals": {
                    "videos": 42,
                    "units": 42,
                    "unit_failures": {"corrupt": 2},
                    "video_seconds": 400.0,
                    "bytes_read": 40_020,
                    "device_ms": 120.0,
                    "unpruned_units": shadow,
                    "unpruned_device_ms": 9.0 * shadow,
                    "stages": stages,
                },
            }
        )
    )
    if finished:
        run.success.write_bytes(b"")
    return run


def test_a_runs_rates_are_those_of_its_stages(tmp_path):
    done = finished_run(write_run(tmp_path))
    found = done.rates
    decoded = found.labelings[0].decoded
    assert decoded.cpu_s.mean() == pytest.approx(8.4 / 42)
    assert decoded.failed == {"corrupt": 2}
    assert sorted(decoded.size) == [1000.0 * n for n in range(1, 41)]
    pruned, unpruned = found.labelings
    assert (pruned.r, pruned.unit_s) == (64, pytest.approx(21.0 / 42))
    assert unpruned.unit_s == pytest.approx(2 * pruned.unit_s)
    assert unpruned.known_from == "FLOPs"
    assert found.machine == dataclasses.replace(
        found.machine, name="cpu: 1 thread of CPU Y", cpus=4, gpus=0
    )
    assert (done.pools, done.protocol, done.checkpoint) == (
        LocalPools(2, 2),
        PROTOCOL,
        "model.safetensors",
    )
    assert (done.work.videos, done.work.video_s) == (42, 400.0)


def test_on_gpus_a_runs_labeling_goes_by_the_wall_and_decoders_wait_for_storage(tmp_path):
    found = finished_run(write_run(tmp_path, gpu=True)).rates
    assert found.labelings[0].unit_s == pytest.approx(42.0 / 42)
    assert found.threads is None
    assert found.labelings[0].decoded.wait_s.mean() == pytest.approx((10.5 - 8.4) / 42)
    assert (found.machine.name, found.machine.gpus) == ("NVIDIA X", 2)


def test_a_shadow_sample_tells_the_unpruned_models_time(tmp_path):
    found = finished_run(write_run(tmp_path, shadow=4)).rates
    pruned, unpruned = found.labelings
    assert unpruned.unit_s / pruned.unit_s == pytest.approx(9.0 / (120 / 40))
    # Of the labelers' time the shadow's part is not the pruned model's.
    assert pruned.unit_s == pytest.approx(21.0 / 42 * 120 / (120 + 36))
    assert "shadow sample of 4" in unpruned.known_from


def test_an_unpruned_run_tells_of_the_unpruned_model_alone(tmp_path):
    (only,) = finished_run(write_run(tmp_path, pruned=False)).rates.labelings
    assert (only.name, only.r) == (UNPRUNED, 0)


def test_a_run_with_early_exit_is_planned_by_its_own_rates(tmp_path):
    run = write_run(tmp_path)
    content = run.load().to_json()
    content["identity"]["early_exit"] = {
        **{"threshold": 0.5, "max_views": None, "agreement": 0.99, "confidence": 0.95}
    }
    content["totals"]["clips"] = 120
    content["flags"] = {"early_exit": "early-exit.json"}
    run.save(run_record(content))
    done = finished_run(run)
    found = done.rates
    (only,) = found.labelings
    assert done.early_exit == "early-exit.json"
    assert (only.name, only.r, only.views) == (EARLY_EXIT, 64, 3.0)
    assert found.unpruned_s == pytest.approx(only.unit_s * 2 * 15 / 3)


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not finished"):
        finished_run(write_run(tmp_path, finished=False))


def test_a_run_that_labeled_nothing_is_refused(tmp_path):
    run = write_run(tmp_path)
    content = run.load().to_json()
    content["totals"]["stages"] = None
    run.save(run_record(content))
    with pytest.raises(UsageError, match="no stage statistics"):
        finished_run(run)
