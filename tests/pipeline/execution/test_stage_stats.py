"""What actors report adds up, and tells how busy they were."""

import json

import pytest

from pipeline.execution.stage_stats import Stage, Stages, StageSums
from workers.actor_stats import DECODE, LABEL, WorkReport


def worked(stage, actor, began, ended, busy_s, *, units=10, **more):
    return WorkReport(stage, actor, began, ended, busy_s, cpu_s=busy_s / 2, units=units, **more)


@pytest.fixture
def sums():
    added = StageSums()
    added.add(worked(DECODE, "d0", 100.0, 110.0, 10.0))
    added.add(worked(DECODE, "d1", 101.0, 111.0, 5.0))
    added.add(worked(LABEL, "l0", 104.0, 112.0, 6.0, views=150, slots=160))
    added.add(worked(LABEL, "l0", 112.0, 120.0, 8.0, views=150, slots=152))
    return added


def test_actors_are_counted_once_and_their_work_is_added(sums):
    stages = sums.stages()
    assert (stages.decode.actors, stages.decode.units, stages.decode.busy_s) == (2, 20, 15.0)
    assert (stages.label.actors, stages.label.units, stages.label.views) == (1, 20, 300)
    assert stages.label.padding == pytest.approx(1 - 300 / 312)
    assert stages.decode.rate == pytest.approx(20 / 15)


def test_busy_is_the_share_of_the_time_that_each_stage_was_there(sums):
    stages = sums.stages()
    assert stages.wall_s == 20.0
    assert stages.decoders_busy == pytest.approx(15 / 40)
    assert stages.labelers_busy == pytest.approx(14 / 16)
    assert stages.brief() == "decoders 38 % busy, labelers 88 %"


def test_actors_that_took_the_place_of_others_are_not_counted_beside_them(sums):
    sums.add(worked(LABEL, "l1", 112.0, 120.0, 8.0, views=150, slots=150))
    assert sums.stages().within(decoders=4, labelers=1).label.actors == 1
    assert sums.stages().within(decoders=4, labelers=2).decode.actors == 2


def test_what_run_json_keeps_is_what_was_measured(sums):
    stages = sums.stages()
    kept = json.loads(json.dumps(stages.as_json()))
    assert Stages.from_json(kept) == stages
    assert kept["decoders_busy"] == pytest.approx(15 / 40)


def test_before_anything_is_reported_nothing_is_known():
    stages = StageSums().stages()
    assert not stages.are_measured
    assert stages.brief() is None
    assert (stages.wall_s, stages.decoders_busy, stages.labelers_busy) == (0.0, 0.0, 0.0)
    assert Stage(actors=1, units=0, busy_s=3.0).rate is None
