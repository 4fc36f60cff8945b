"""Pools: what is started always leaves the graph its own steps."""

import math

import pytest

from pipeline.errors import UsageError
from pipeline.execution.pools import (
    DECODER_MEMORY,
    FILTER_MEMORY,
    FURTHER_SHARE,
    OVERHEAD_CPUS,
    most_decoders,
    parse_decoders,
    plan_pools,
)


@pytest.mark.parametrize("cpus", [2, 3, 4, 8, 16, 64, 500])
@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_what_the_pools_reserve_leaves_cores_for_filter_and_tasks(cpus, gpus):
    pools = plan_pools(cpus=cpus, gpus=gpus)
    held = pools.decoders[1] * pools.decoder_cpus + pools.labelers * pools.labeler_cpus
    assert held + OVERHEAD_CPUS <= cpus
    assert pools.labelers * pools.labeler_gpus <= gpus
    assert pools.labelers == max(gpus, 1)


@pytest.mark.parametrize("decoders", [(1, 1), (3, 3), (2, 5)])
def test_a_chosen_size_is_kept_and_fits(decoders):
    pools = plan_pools(cpus=4, gpus=0, decoders=decoders, labelers=2)
    assert (pools.decoders, pools.labelers) == (decoders, 2)
    held = decoders[1] * pools.decoder_cpus + 2 * pools.labeler_cpus
    assert held + OVERHEAD_CPUS <= 4


def test_labelers_on_cpus_share_the_cores_as_threads_and_on_gpus_take_none():
    assert plan_pools(cpus=8, gpus=0, labelers=2).labeler_threads == 3
    on_gpu = plan_pools(cpus=8, gpus=2)
    assert on_gpu.labeler_threads is None
    assert on_gpu.decoders == (6, 6)


def test_a_cluster_without_room_for_the_graph_is_refused_with_the_arithmetic():
    with pytest.raises(UsageError, match=r"need 2 cores \(1 .* 1 for tasks\) .* cluster has 1"):
        plan_pools(cpus=1, gpus=0)


def test_more_labelers_than_gpus_are_refused():
    with pytest.raises(UsageError, match="4 labelers need 4 GPUs; the cluster has 2"):
        plan_pools(cpus=16, gpus=2, labelers=4)


def test_far_more_actors_than_cores_are_refused_with_the_most_there_can_be():
    with pytest.raises(UsageError, match="100 decoders and 1 labelers .* 8 at most"):
        plan_pools(cpus=4, gpus=0, decoders=(1, 100))


@pytest.mark.parametrize(("text", "sizes"), [("4", (4, 4)), ("2:8", (2, 8)), ("auto", "auto")])
def test_decoders_are_a_number_a_range_or_auto(text, sizes):
    assert parse_decoders(text) == sizes


@pytest.mark.parametrize("text", ["0", "8:2", "many", "1:2:3", "-1", ""])
def test_other_decoders_are_refused(text):
    with pytest.raises(UsageError, match="takes N or MIN:MAX"):
        parse_decoders(text)


def test_decoders_are_as_many_as_the_memory_holds_beside_the_filter():
    pools = plan_pools(cpus=32, gpus=1, memory=4 * 1024**3)
    assert pools.decoders == (4, 4)  # 3 GiB of 672 MiB each


def test_more_decoders_than_the_memory_holds_are_refused_with_the_arithmetic():
    with pytest.raises(UsageError, match=r"8 decoders of 0.66 GiB .* need 6.2 GiB .* has 4 GiB"):
        plan_pools(cpus=32, gpus=1, memory=4 * 1024**3, decoders=(2, 8))


def test_labelers_on_cpus_are_as_many_as_cores_and_work_allow_of_one_thread_each():
    many = plan_pools(cpus=10, gpus=0, labelers_worth=100)
    assert (many.labelers, many.labeler_threads) == (8, 1)
    few = plan_pools(cpus=10, gpus=0, labelers_worth=3)
    assert (few.labelers, few.labeler_threads) == (3, 2)


def test_memory_is_reserved_for_labelers_and_limits_them_and_the_decoders():
    gib = 1024**3
    pools = plan_pools(cpus=34, gpus=0, memory=12 * gib, labelers_worth=100, labeler_memory=3 * gib)
    assert (pools.labelers, pools.labeler_memory) == (3, 3 * gib)
    assert pools.decoders == (3, 3)  # 12 less 1 of the filter and 9 of the labelers, by 672 MiB


def test_labelers_that_memory_does_not_hold_are_refused_with_the_arithmetic():
    gib = 1024**3
    with pytest.raises(UsageError, match=r"4 labelers of 3 GiB .* need 14 GiB .* has 8 GiB"):
        plan_pools(cpus=16, gpus=4, memory=8 * gib, labeler_memory=3 * gib)


def test_there_is_room_for_as_many_decoders_as_cores_and_memory_hold():
    gib = 1024**3
    pools = plan_pools(cpus=16, gpus=1, labeler_memory=3 * gib)
    assert most_decoders(pools, cpus=16) == 32
    assert most_decoders(pools, cpus=16, memory=10 * gib) == 9


@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("decoders", [None, (1, 1), (3, 3), (2, 9), (16, 16)])
@pytest.mark.parametrize("further", [False, True])
def test_decoders_on_gpus_are_spread_evenly_beside_one_labeler_each(gpus, decoders, further):
    pools = plan_pools(cpus=64, gpus=gpus, decoders=decoders, decode_on_gpu=True, further=further)
    assert pools.decoders[0] == pools.decoders[1] >= (decoders or (1, 1))[1]
    each, rest = divmod(pools.most_decoders, gpus)
    assert rest == 0
    assert each * pools.decoder_gpus + pools.labeler_gpus <= 1 + 1e-9
    assert (each + 1) * pools.decoder_gpus > 1, "one more fits nowhere"
    assert each * pools.decoder_gpus + 2 * pools.labeler_gpus > 1, "nor does a second labeler"
    assert pools.labelers == gpus


def test_decoders_on_gpus_need_gpus():
    with pytest.raises(UsageError, match="nvdec decodes on GPUs, and the cluster has none"):
        plan_pools(cpus=8, gpus=0, decode_on_gpu=True)


@pytest.mark.parametrize("cpus", [2, 4, 16, 64])
@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_decoders_of_further_clips_share_the_cores_of_the_others(cpus, gpus):
    pools = plan_pools(cpus=cpus, gpus=gpus, further=True)
    alone = plan_pools(cpus=cpus, gpus=gpus)
    assert (pools.decoders, pools.labelers) == (alone.decoders, alone.labelers)
    assert pools.further_decoders == math.ceil(FURTHER_SHARE * pools.decoders[1])
    held = pools.most_decoders * pools.decoder_cpus + pools.labelers * pools.labeler_cpus
    assert held + OVERHEAD_CPUS <= cpus
    assert most_decoders(pools, cpus=cpus) <= most_decoders(alone, cpus=cpus)


@pytest.mark.parametrize("drivers", [1, 2, 4])
def test_each_driver_has_decoders_of_further_clips(drivers):
    pools = plan_pools(cpus=64, gpus=8, decoders=(7, 7), drivers=drivers, further=True)
    parts = pools.divided(drivers)
    assert all(part.further_decoders >= part.decoders[1] / 2 for part in parts)
    assert sum(part.most_decoders for part in parts) == pools.most_decoders


@pytest.mark.parametrize("decoders", range(2, 12))
def test_decoders_of_both_kinds_fit_into_the_memory(decoders):
    memory = FILTER_MEMORY + decoders * DECODER_MEMORY
    pools = plan_pools(cpus=64, gpus=4, memory=memory, further=True)
    assert decoders - 1 <= pools.most_decoders <= decoders
    assert most_decoders(pools, cpus=64, memory=memory) >= pools.decoders[1]
