"""The cluster to rent: as small as the deadline allows, and its price."""

import dataclasses

import pytest

from pipeline.errors import UsageError
from pipeline.planner.cluster import choose, cost, rent
from pipeline.planner.predict import RAY_CORES
from pipeline.planner.scenario import Limits
from pipeline.prices import Prices
from tests.pipeline.planner.made_up_rates import VIDEOS, rates, terms


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
