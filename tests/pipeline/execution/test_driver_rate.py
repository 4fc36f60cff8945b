"""How many drivers a run gets without --drivers."""

import pytest

from pipeline.execution.driver_rate import driver_units_per_s, drivers_worth
from pipeline.execution.pools import plan_pools

VIT_B = 96.5e9  # multiply-accumulates of a view at r = 64


def worth(cpus, gpus, *, own_cores, views=15, block_rows=4):
    pools = plan_pools(cpus=cpus, gpus=gpus)
    return drivers_worth(
        pools,
        cpus=cpus,
        own_cores=own_cores,
        unit_flops=views * VIT_B,
        block_rows=block_rows,
    )


def test_larger_blocks_pass_more_units():
    rates = [driver_units_per_s(rows) for rows in (1, 4, 8, 32)]
    assert rates == sorted(rates)


@pytest.mark.parametrize(("cpus", "gpus"), [(4, 0), (6, 0), (8, 1), (16, 2), (34, 0), (32, 1)])
def test_small_clusters_have_one_driver(cpus, gpus):
    assert worth(cpus, gpus, own_cores=8) == 1


def test_64_gpus_have_as_many_drivers_as_they_can_need():
    drivers = worth(64 * 40, 64, own_cores=64)
    assert drivers * driver_units_per_s(4) >= 64 * 135
    assert worth(64 * 40, 64, own_cores=64, block_rows=16) < drivers


def test_the_cores_of_the_own_machine_and_of_the_cluster_limit_the_drivers():
    assert worth(64 * 40, 64, own_cores=9) == 4
    assert worth(70, 64, own_cores=64) == 2
    assert worth(64 * 40, 2, own_cores=64) <= 2
