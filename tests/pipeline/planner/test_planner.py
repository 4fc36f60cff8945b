"""From rates to a cluster: the arithmetic, the deadline, the money, and what is said of them."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.early_exit import EarlyExitFile, OperatingPoint
from pipeline.errors import UsageError
from pipeline.planner.calibrate import expected_views, views_are_alike
from pipeline.planner.cluster import choose, cost, rent
from pipeline.planner.from_run import finished_run
from pipeline.planner.local_pools import grain_rule
from pipeline.planner.plan import LocalPools, plan_for, scaled
from pipeline.planner.predict import GRAPH_END_S, RAY_CORES, TABLES_S_PER_VIEW, Terms
from pipeline.planner.rates import (
    EARLY_EXIT,
    PRUNED,
    UNPRUNED,
    DecodeCosts,
    LabelingRate,
    Machine,
    MeasuredRates,
    Workload,
)
from pipeline.planner.report import as_json, text
from pipeline.planner.scenario import Limits
from pipeline.planner.stride_sample import StrideSample
from pipeline.prices import Prices
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.run.test_tables import failed, ok
from tests.run_records import run_record
from workers.sampling import protocol
from workers.schema import UNITS_SCHEMA

PROTOCOL = protocol("videomae-k400")
PRICES = Prices(gpu_hour=2.0, core_hour=0.05)
VIDEOS = 20_000


def rates(*, gpus=8, decode=0.2, wait=0.05, pruned=0.1, unpruned=0.2, start_s=60.0):
    """A machine with GPUs that labels ten units a second, or one of two cores without."""
    ones = np.ones(20)
    decoded = DecodeCosts(
        size=ones * 1e6,
        bytes_read=ones * 1e6,
        cpu_s=ones * decode,
        wait_s=ones * wait,
        video_s=ones * 10.0,
    )
    return MeasuredRates(
        labelings=(
            LabelingRate(PRUNED, 64, pruned, start_s, "measured", decoded, 15.0),
            LabelingRate(UNPRUNED, 0, unpruned, start_s, "measured", decoded, 15.0),
        ),
        unpruned_s=unpruned,
        threads=None if gpus else 1,
        machine=Machine("made up", 96 if gpus else 2, 96.0 if gpus else 2.0, 100e9, gpus),
        started_s=2.0,
        known_from="made up",
    )


def terms(*, videos=VIDEOS, deadline_s=900.0, prices=PRICES, on_gpu=True, **changes):
    return Terms(
        work=Workload(videos, videos, videos * 10.0, videos * 1e6, "made up"),
        deadline_s=deadline_s,
        prices=prices,
        grain_of=grain_rule(PROTOCOL, None, videos, on_gpu=on_gpu),
        buffer_units=2000,
        **(
            {
                "preemptions": 0.0,
                "limits": Limits(),
                "listing_s": 5.0,
            }
            | changes
        ),
    )


def test_a_shadow_sample_makes_pruned_labeling_slower_by_its_share_of_the_unpruned():
    pruned, unpruned = rates(pruned=0.1, unpruned=0.2).with_shadow(0.25).labelings
    assert pruned.unit_s == pytest.approx(0.1 + 0.25 * 0.2)
    assert unpruned.unit_s == 0.2


def test_the_deadline_is_met_by_few_more_gpus_than_arithmetic_asks_for():
    found = rates()
    choice = choose(found, found.labelings[0], terms())
    assert choice.prediction.seconds <= 900
    least = VIDEOS * 0.1 / 900
    assert least < choice.rented.gpus <= 1.35 * least + 1
    assert choice.rented.labelers == choice.rented.gpus


def test_decoders_are_as_many_as_keep_the_labelers_busy_and_their_cores_as_they_use():
    found = rates()
    rented = rent(found, found.labelings[0], terms(), 8, 1.0)
    assert rented.decoders == 23  # 8 x 1.15 x 0.25 s / 0.1 s
    assert rented.cores == 21  # 23 x 0.2 / 0.25, and two for the graph's steps
    assert rented.nodes == 1


def test_the_unpruned_model_takes_twice_the_gpus_where_it_takes_twice_the_time():
    found = rates()
    pruned, unpruned = (choose(found, each, terms()) for each in found.labelings)
    assert unpruned.rented.gpus == pytest.approx(2 * pruned.rented.gpus, abs=2)
    assert unpruned.money > 1.5 * pruned.money


def test_money_is_machines_for_the_time_and_reading():
    found, prices = (
        rates(),
        Prices(gpu_hour=2.0, core_hour=0.05, read_gb=0.02, get_1000=0.0004, gpu_cores=2.0),
    )
    asked = terms(prices=prices)
    rented = rent(found, found.labelings[0], asked, 8, 1.0)
    assert rented.paid_cores == 21 - 16
    money = cost(found.labelings[0], asked, rented, 1800.0)
    machines = (8 * 2.0 + 5 * 0.05) / 2
    assert money == pytest.approx(machines + 20 * 0.02 + 20 * 0.0004)
    assert cost(found.labelings[0], dataclasses.replace(asked, prices=None), rented, 1800.0) is None


def test_without_gpus_cores_are_counted_in_whole_machines():
    found = rates(gpus=0, wait=0.0, decode=0.05, pruned=0.3, start_s=3.0)
    choice = choose(found, found.labelings[0], terms(on_gpu=False))
    rented = choice.rented
    assert (rented.gpus, rented.cores, rented.paid_cores) == (0, 2 * rented.nodes, rented.cores)
    least = VIDEOS * 0.35 / 900 * 2 / (2 - RAY_CORES)
    assert least <= rented.cores <= 1.3 * least + 4
    assert choice.prediction.seconds <= 900


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize("cpus", [1, 2, 3, 4])
def test_the_smallest_machines_and_times_that_no_clock_tells_have_a_plan(cpus, gpus):
    for decode, wait, label in itertools.product((0.0, 0.2), (0.0, 0.05), (0.0, 0.1)):
        found = dataclasses.replace(
            rates(decode=decode, wait=wait, pruned=label, unpruned=label, start_s=3.0),
            machine=Machine("made up", cpus, float(cpus), 4e9, gpus),
            threads=None if gpus else 1,
        )
        asked = terms(videos=200, on_gpu=gpus > 0)
        for with_cluster in (True, False):
            plan = plan_for(found, asked, LocalPools(1, 1), with_cluster=with_cluster)
            assert text(plan, {PRUNED: "a", UNPRUNED: "b"}, gpu_price=True)


def test_a_deadline_shorter_than_the_start_is_impossible_and_says_so():
    found = rates(start_s=300.0)
    with pytest.raises(
        UsageError, match=r"--deadline 5:00 is impossible: starting alone takes 5:1"
    ):
        choose(found, found.labelings[0], terms(deadline_s=300.0))


def test_a_limit_that_more_machines_do_not_raise_is_named():
    found = rates()
    slow = terms(limits=Limits(storage_bytes_per_s=1e6))
    with pytest.raises(UsageError, match=r"needs .* units/s, and storage bandwidth allows 1,"):
        choose(found, found.labelings[0], slow)


def test_spot_machines_that_are_lost_cost_time():
    found = rates()
    calm = choose(found, found.labelings[0], terms())
    lossy = choose(found, found.labelings[0], terms(preemptions=40.0))
    assert lossy.prediction.outcome.preemptions > 0
    assert lossy.prediction.outcome.redone_units > 0
    assert lossy.money > calm.money


def test_a_prediction_is_start_graph_and_tables():
    found = rates()
    plan = plan_for(found, terms(videos=1000), LocalPools(24, 8), with_cluster=False)
    local = plan.variants[0].local
    assert local.seconds == pytest.approx(local.before_s + local.graph_s + local.after_s)
    assert local.after_s == pytest.approx(GRAPH_END_S + TABLES_S_PER_VIEW * 15 * 1000)
    # 1000 units on eight GPUs of ten units a second, once the model is loaded.
    assert local.graph_s == pytest.approx(60 - 2 + 1000 / 80, rel=0.15)


def test_a_plan_without_a_deadline_rents_nothing():
    plan = plan_for(rates(), terms(), LocalPools(24, 8), with_cluster=False)
    assert [each.choice for each in plan.variants] == [None, None]
    assert "Within" not in text(plan, {}, gpu_price=True)


def test_one_way_of_labeling_may_be_impossible_and_both_are_an_error():
    found = rates(unpruned=4000.0)
    plan = plan_for(found, terms(), LocalPools(24, 8), with_cluster=True)
    assert [each.choice is None for each in plan.variants] == [False, True]
    said = text(plan, {}, gpu_price=True)
    assert "impossible" in said
    assert "unpruned: " in said
    with pytest.raises(UsageError, match="impossible"):
        plan_for(found, terms(deadline_s=10.0), LocalPools(24, 8), with_cluster=True)


def test_the_table_and_the_json_say_the_same():
    found = rates()
    plan = plan_for(found, terms(), LocalPools(24, 8), with_cluster=True)
    said = text(plan, {PRUNED: "python jobs/x.py"}, gpu_price=True)
    told = as_json(plan, {PRUNED: "python jobs/x.py"})
    pruned, unpruned = told["variants"]
    assert "10/s, 100 video-h/h" in said  # ten units of ten seconds a second
    assert pruned["labeler_units_per_s"] == pytest.approx(10)
    assert pruned["decoders_per_labeler"] == pytest.approx(2.5)
    assert f"{pruned['cluster']['money']:,.2f} USD" in said
    assert f"{unpruned['cluster']['money']:,.2f} USD" in said
    saved = 100 * (1 - pruned["cluster"]["money"] / unpruned["cluster"]["money"])
    assert f"Pruning saves {saved:.0f} % of the cost." in said
    assert "pruned: python jobs/x.py" in said
    assert "This machine has no GPU" not in said


def test_a_gpus_price_on_a_machine_without_one_is_remarked_on():
    found = rates(gpus=0, start_s=3.0)
    plan = plan_for(found, terms(on_gpu=False), LocalPools(1, 2), with_cluster=True)
    assert "This machine has no GPU" in text(plan, {}, gpu_price=True)
    assert "This machine has no GPU" not in text(plan, {}, gpu_price=False)


def fitted(**changes):
    """An early-exit file of 1,500 videos with 3 of 15 views, 2 of them one way or the other."""
    return EarlyExitFile(
        **(
            {"model": "m", "labels": "l", "pruning": {}, "protocol": {"clips": 5, "crops": 3}}
            | {"precision": "float32", "decoder": "pyav", "decode": "fast"}
            | {"agreement": 0.99, "confidence": 0.95}
            | {"threshold": 0.5, "videos": 1500, "source": "s"}
            | {"curve": (OperatingPoint(0.5, 1.0, 0.99, 3.0, 2.0),)}
            | changes
        )
    )


def test_views_are_those_of_the_files_many_videos_unless_the_sample_is_of_another_kind():
    alike = np.full(100, 3.4)
    assert expected_views(fitted(), alike) == pytest.approx((100 * 3.4 + 1500 * 3.0) / 1600)
    assert views_are_alike(fitted(), alike)
    other = np.full(100, 6.0)
    assert expected_views(fitted(), other) == 6.0
    assert not views_are_alike(fitted(), other)


def test_early_exit_has_decode_costs_and_views_of_its_own():
    found = rates()
    stopping = dataclasses.replace(
        found.labelings[0],
        name=EARLY_EXIT,
        unit_s=0.02,
        views=3.0,
        decoded=dataclasses.replace(found.labelings[0].decoded, cpu_s=np.full(20, 0.08)),
        label_shares=np.linspace(0.5, 1.5, 20),
    )
    found = dataclasses.replace(found, labelings=(stopping, *found.labelings))
    plan = plan_for(found, terms(), LocalPools(24, 8), with_cluster=True)
    first, pruned, unpruned = as_json(plan, {})["variants"]
    assert (first["name"], first["views"]) == (EARLY_EXIT, 3.0)
    assert first["decode_core_hours"] == pytest.approx(VIDEOS * 0.08 / 3600)
    assert first["label_gpu_hours"] == pytest.approx(VIDEOS * 0.02 / 3600)
    assert first["cluster"]["gpus"] < pruned["cluster"]["gpus"] < unpruned["cluster"]["gpus"]
    assert "Early exit saves" in (said := text(plan, {}, gpu_price=True))
    assert "views of a video" in said
    assert plan.variants[0].local.after_s < plan.variants[1].local.after_s


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


def test_work_is_scaled_by_videos_or_by_hours():
    work = Workload(videos=100, units=300, video_s=1000.0, bytes=1e9, known_from="x")
    more = scaled(work, videos=1000, archive_hours=None)
    assert (more.videos, more.units, more.video_s, more.bytes) == (1000, 3000, 1e4, 1e10)
    hours = scaled(work, videos=None, archive_hours=10.0)
    assert (hours.videos, hours.video_s) == (3600, 36000)
    assert scaled(work, videos=None, archive_hours=None) is work


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 12_345])
def test_a_stride_sample_is_evenly_spaced_and_bounded(count):
    sample = StrideSample(8)
    for item in range(count):
        sample.add(item)
    assert sample.seen == count
    assert min(count, 4) <= len(sample.kept) <= 8
    assert len(set(np.diff(sample.kept))) <= 1
    assert sample.kept[0] == 0
    assert sample.kept[-1] >= count - 2 * count / len(sample.kept) - 1


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
