"""Clusters that grow on demand: pools are sized by what there can be."""

import math

import pytest

from pipeline.errors import UsageError
from pipeline.execution.cluster import Cluster, grown
from pipeline.execution.pools import OVERHEAD_CPUS, plan_pools
from pipeline.labeling.options import LabelOptions

EMPTY = Cluster(cpus=0, gpus=0, memory=0, nodes=1)


def options(**chosen):
    return LabelOptions(task="k400", source="in", output="out", checkpoint="demo", **chosen)


def test_a_cluster_that_does_not_grow_is_taken_as_it_is():
    present = Cluster(cpus=8, gpus=1, memory=16e9, nodes=2)
    assert grown(present, max_cpus=None, max_gpus=None) is present


def test_pools_of_a_cluster_without_machines_are_those_of_what_it_can_grow_to():
    cluster = grown(EMPTY, max_cpus=34, max_gpus=4)
    pools = plan_pools(cpus=cluster.cpus, gpus=cluster.gpus, memory=cluster.memory)
    assert (pools.decoders, pools.labelers, pools.labeler_gpus) == ((32, 32), 4, 1.0)
    assert pools.decoders[1] * pools.decoder_cpus + OVERHEAD_CPUS <= 34


def test_what_is_there_already_counts_where_it_is_more():
    present = Cluster(cpus=64, gpus=2, memory=16e9, nodes=2)
    assert grown(present, max_cpus=8, max_gpus=None) == Cluster(64, 2, math.inf, 2)


def test_an_empty_cluster_is_refused_by_the_flags_that_help():
    with pytest.raises(UsageError, match="cluster has 0; .*--max-cpus"):
        plan_pools(cpus=EMPTY.cpus, gpus=EMPTY.gpus)
    with pytest.raises(UsageError, match="cluster has 1; .*--max-gpus"):
        plan_pools(cpus=8, gpus=1, labelers=2)


@pytest.mark.parametrize("name", ["max_cpus", "max_gpus"])
def test_nothing_is_no_size_to_grow_to(name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 1 or more; got 0"):
        options(**{name: 0})
