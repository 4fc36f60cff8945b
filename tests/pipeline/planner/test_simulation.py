"""The simulated run against what arithmetic says of it."""

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.planner.predict import capacities
from pipeline.planner.scenario import Limits, Scenario
from pipeline.planner.simulation import simulate
from pipeline.planner.unit_costs import UnitCosts, tasks_of, units_per_task


def costs(*, decode=1.0, wait=0.0, label=1.0, size=1.0, read=1.0):
    """Units of these costs; a sequence for units that differ."""
    values = np.broadcast_arrays(*map(np.atleast_1d, (size, read, decode, wait, label)))
    return UnitCosts(*(np.array(each, dtype=np.float64) for each in values))


def scenario(**changes):
    return Scenario(**({"decoders": 1, "labelers": 1, "cores": 1000.0} | changes))


@pytest.mark.parametrize(
    ("decode", "label", "expected"), [(1, 2, 1 + 100 * 2), (2, 1, 100 * 2 + 1), (1, 1, 101)]
)
def test_a_run_takes_what_its_slowest_stage_takes_and_one_unit_of_the_other(
    decode, label, expected
):
    outcome = simulate(costs(decode=decode, label=label), 100, scenario())
    assert outcome.seconds == pytest.approx(expected)


@pytest.mark.parametrize(
    ("decoders", "labelers", "slowest"), [(2, 8, 1.0), (6, 1, 4.0), (3, 4, 1.0)]
)
def test_long_runs_go_at_the_smallest_capacity(decoders, labelers, slowest):
    made = scenario(decoders=decoders, labelers=labelers, buffer_units=8)
    unit = costs(decode=2.0, label=4.0)
    least = min(capacities(unit, made).values())
    assert simulate(unit, 4000, made).seconds == pytest.approx(4000 / least, rel=0.01)


def test_actors_that_start_late_delay_the_run_by_that():
    late = scenario(decoder_start_s=30.0, labeler_start_s=50.0)
    outcome = simulate(costs(decode=0.1, label=1.0), 100, late)
    assert outcome.labeling_from == pytest.approx(50)
    assert outcome.seconds == pytest.approx(150)


def test_decoders_wait_for_room_in_a_full_buffer():
    outcome = simulate(costs(decode=1.0, label=10.0), 100, scenario(buffer_units=2))
    assert outcome.seconds == pytest.approx(1001)
    # Each unit beyond the first few waits 9 of 10 seconds.
    assert outcome.decoders_blocked == pytest.approx(0.87, abs=0.03)
    assert outcome.decoders_busy == pytest.approx(0.1, abs=0.01)


def test_a_large_buffer_lets_decoding_run_ahead():
    outcome = simulate(costs(decode=1.0, label=10.0), 100, scenario(buffer_units=1000))
    assert outcome.decoders_blocked == 0
    assert outcome.decoders_busy == pytest.approx(0.1, abs=0.01)


# Of this seed's hundred draws one is the straggler.
ONE = 2


def straggler(*, longest_first):
    """Decoding times in their order, and seconds of the run: one of a hundred units takes 100 s."""
    sizes = np.append(np.ones(99), 100.0)
    unit = costs(decode=sizes, label=0.001, size=sizes)
    made = scenario(decoders=4, labelers=4, longest_first=longest_first)
    tasks = tasks_of(unit, 100, made, np.random.default_rng(ONE))
    assert (tasks.decode_cpu_s > 50).sum() == 1
    return tasks.decode_cpu_s, simulate(unit, 100, made, seed=ONE).seconds


def test_with_the_longest_first_a_straggler_costs_only_itself():
    work, seconds = straggler(longest_first=True)
    assert work.max() == 100.0
    assert (np.diff(work) <= 0).all()
    assert seconds == pytest.approx(max(work.max(), work.sum() / 4), abs=2)


def test_a_straggler_that_comes_later_is_waited_for():
    work, seconds = straggler(longest_first=False)
    at = int(work.argmax())
    assert at > 0
    assert seconds == pytest.approx(at / 4 + 100, abs=2)


def test_decoders_and_labelers_on_cpus_share_the_cores():
    unit = costs(decode=1.0, label=3.0)
    shared = scenario(decoders=2, labelers=2, cores=2.0, labeler_threads=1, buffer_units=8)
    assert simulate(unit, 200, shared).seconds == pytest.approx(200 * 4 / 2, rel=0.02)
    # With cores enough for all of them the labelers alone set the pace.
    free = scenario(decoders=2, labelers=2, cores=4.0, labeler_threads=1, buffer_units=8)
    assert simulate(unit, 200, free).seconds == pytest.approx(200 * 3 / 2, rel=0.02)


def test_a_labeler_of_several_threads_takes_as_many_cores():
    unit = costs(decode=0.01, label=4.0)
    four = scenario(cores=4.0, labeler_threads=4)
    assert simulate(unit, 100, four).seconds == pytest.approx(100, rel=0.03)
    two = scenario(cores=2.0, labeler_threads=4)
    assert simulate(unit, 100, two).seconds == pytest.approx(200, rel=0.03)


def test_labelers_on_gpus_take_no_cores():
    unit = costs(decode=0.01, label=1.0)
    assert simulate(unit, 100, scenario(labelers=4, cores=1.0)).seconds == pytest.approx(25, abs=1)


def test_waiting_for_storage_takes_no_core():
    made = scenario(decoders=10, cores=1.0)
    waiting = costs(decode=0.001, wait=0.999, label=0.01)
    assert simulate(waiting, 1000, made).seconds == pytest.approx(100, rel=0.02)
    computing = costs(decode=1.0, label=0.01)
    assert simulate(computing, 1000, made).seconds == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(
    ("limits", "name", "rate"),
    [
        ({"storage_bytes_per_s": 100.0}, "storage bandwidth", 10.0),
        ({"storage_requests_per_s": 5.0}, "storage requests", 5.0),
        ({"rows_per_s": 4.0}, "driver (rows)", 4.0),
        ({"commits_per_s": 0.5}, "commits", 4.0),
    ],
)
def test_what_machines_do_not_raise_limits_the_run(limits, name, rate):
    made = scenario(
        decoders=100, labelers=100, commit_rows=8, limits=Limits(**limits), buffer_units=1000
    )
    unit = costs(decode=0.1, label=0.1, read=10.0)
    parts = capacities(unit, made)
    assert min(parts, key=parts.get) == name
    assert parts[name] == pytest.approx(rate)
    assert simulate(unit, 2000, made).seconds == pytest.approx(2000 / rate, rel=0.02)


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(UsageError, match="rows_per_s must be above 0"):
        Limits(rows_per_s=0)


def spot(**changes):
    lossy = {"nodes": 4, "replacement_s": 100.0, "preemptions_per_node_hour": 2.0}
    return scenario(**({"decoders": 8, "labelers": 4, "buffer_units": 64} | lossy | changes))


def test_preemptions_come_as_often_as_their_rate_says():
    outcome = simulate(costs(decode=0.5, label=4.0), 40_000, spot(), seed=3)
    hours = outcome.seconds / 3600
    expected = 2.0 * 4 * hours
    assert abs(outcome.preemptions - expected) < 4 * np.sqrt(expected)


def test_a_lost_machine_costs_its_replacement_and_the_work_in_hand():
    unit, units = costs(decode=0.5, label=4.0), 40_000
    calm = simulate(unit, units, spot(preemptions_per_node_hour=0.0))
    lossy = simulate(unit, units, spot(), seed=3)
    # Each loss takes one of four labelers away for 100 s, and half a call's work on average;
    # with it go two decoders.
    lost = lossy.preemptions * (100 + 2) / 4
    assert calm.seconds == pytest.approx(units * 4 / 4, rel=0.01)
    assert lossy.seconds - calm.seconds == pytest.approx(lost, rel=0.1)
    assert 0 < lossy.redone_units <= 3 * lossy.task_units * lossy.preemptions


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threads", [None, 1])
def test_every_unit_is_labeled_once_whatever_is_lost(seed, threads):
    varied = np.random.default_rng(seed).lognormal(size=50)
    made = spot(
        cores=6.0,
        labeler_threads=threads,
        decode_rows=3,
        label_rows=6,
        commit_rows=50,
        preemptions_per_node_hour=60.0,
        replacement_s=20.0,
    )
    outcome = simulate(costs(decode=varied, label=varied[::-1], size=varied), 1000, made, seed=seed)
    assert outcome.preemptions > 0
    assert outcome.redone_units > 0
    assert set(outcome.labeled) == {1}
    assert len(outcome.labeled) == -(-1000 // outcome.task_units)


def test_the_same_seed_gives_the_same_run_and_another_one_another():
    varied = costs(decode=np.random.default_rng(0).lognormal(size=50))
    one, same, other = (simulate(varied, 500, spot(), seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.seconds != other.seconds


@pytest.mark.parametrize(
    ("units", "rows", "merged"), [(100, 4, 4), (10**6, 4, 52), (75_000_000, 4, 680)]
)
def test_large_runs_are_simulated_in_larger_pieces(units, rows, merged):
    made = scenario(decoders=4096, labelers=512, decode_rows=rows)
    if units == 10**6:
        made = scenario(decode_rows=rows)
    size = units_per_task(units, made)
    assert size == merged
    assert size % rows == 0


@pytest.mark.parametrize(("units", "per_file"), [(1, 100_000), (1000, 100_000), (12_345, 1000)])
@pytest.mark.parametrize("longest_first", [True, False])
def test_tasks_hold_every_unit_and_all_its_costs(units, per_file, longest_first):
    made = scenario(decode_rows=7, sorted_units=per_file, longest_first=longest_first)
    unit = costs(decode=2.0, wait=3.0, label=5.0, read=7.0, size=[1.0, 2.0, 3.0])
    tasks = tasks_of(unit, units, made, np.random.default_rng(0))
    assert tasks.units.sum() == units
    assert tasks.decode_cpu_s.sum() == pytest.approx(2 * units)
    assert tasks.decode_wait_s.sum() == pytest.approx(3 * units)
    assert tasks.label_s.sum() == pytest.approx(5 * units)
    assert tasks.bytes_read.sum() == pytest.approx(7 * units)


def test_drawn_units_have_the_measured_mean():
    sizes = np.random.default_rng(1).lognormal(size=200)
    tasks = tasks_of(costs(decode=sizes, size=sizes), 100_000, scenario(), np.random.default_rng(0))
    assert tasks.decode_cpu_s.sum() / 100_000 == pytest.approx(sizes.mean(), rel=0.02)


def test_merging_changes_the_time_of_a_large_run_by_little(monkeypatch):
    sizes = np.random.default_rng(1).lognormal(size=200)
    unit = costs(decode=sizes, label=0.5, size=sizes)
    made = scenario(decoders=16, labelers=4, decode_rows=2, label_rows=8, buffer_units=400)
    fine = simulate(unit, 20_000, made)
    monkeypatch.setattr("pipeline.planner.unit_costs._MIN_TASKS", 500)
    coarse = simulate(unit, 20_000, made)
    assert coarse.task_units > 10 * fine.task_units
    assert coarse.seconds == pytest.approx(fine.seconds, rel=0.05)


def test_the_number_of_pieces_does_not_grow_with_the_run():
    made = scenario(decoders=2048, labelers=512, decode_rows=4, label_rows=32, nodes=64)
    small, large = (
        len(tasks_of(costs(), units, made, np.random.default_rng(0)).units)
        for units in (10**6, 10**8)
    )
    assert large < 1.5 * small


@pytest.mark.parametrize("change", [{"decoders": 0}, {"cores": 0.0}, {"replacement_s": -1.0}])
def test_an_impossible_scenario_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        scenario(**change)


def test_costs_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        UnitCosts(np.ones(2), np.ones(2), np.ones(3), np.ones(2), np.ones(2))
