"""Plans: the run on this machine and on a cluster, for each way of labeling."""

import dataclasses
import itertools

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.planner.plan import LocalPools, plan_for, scaled
from pipeline.planner.predict import GRAPH_END_S, TABLES_S_PER_VIEW
from pipeline.planner.rates import EARLY_EXIT, PRUNED, UNPRUNED, Machine, Workload
from pipeline.planner.report import as_json, text
from tests.pipeline.planner.made_up_rates import VIDEOS, rates, terms


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


def test_work_is_scaled_by_videos_or_by_hours():
    work = Workload(videos=100, units=300, video_s=1000.0, bytes=1e9, known_from="x")
    more = scaled(work, videos=1000, archive_hours=None)
    assert (more.videos, more.units, more.video_s, more.bytes) == (1000, 3000, 1e4, 1e10)
    hours = scaled(work, videos=None, archive_hours=10.0)
    assert (hours.videos, hours.video_s) == (3600, 36000)
    assert scaled(work, videos=None, archive_hours=None) is work
