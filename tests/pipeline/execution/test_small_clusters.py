"""All arithmetic about pools holds on clusters of any size that is not refused."""

import itertools
import math

import pytest

from pipeline.errors import UsageError
from pipeline.execution.autosize import sample_size
from pipeline.execution.block_size import grain
from pipeline.execution.bottleneck import Capacity, bottleneck, fit_decoders
from pipeline.execution.pools import OVERHEAD_CPUS, most_decoders, plan_pools
from pipeline.execution.stage_stats import Stage, Stages
from workers.sampling import protocol

WALL_S = 100.0
PROTOCOL = protocol("videomae-k400")


def pools_of(cpus, gpus, **chosen):
    return plan_pools(cpus=cpus, gpus=gpus, memory=64 * 1024**3, **chosen)


def capacities(cores):
    """Capacity for pools on so many cores, with labelers on CPUs and on GPUs."""
    for threads, most, views in itertools.product((None, 1, 4), (0, 1, 9), (None, 15)):
        yield Capacity(
            cores=cores,
            most_decoders=most,
            labeler_threads=threads,
            batch_size=8,
            full_batch=32,
            views_per_call=views,
        )


def measured():
    """Stages that were busy with decoding or labeling, waited, computed a lot or nothing."""
    for actors, busy, cpu, views in itertools.product(
        (1, 4), ((1.0, 1.0), (0.1, 1.0), (1.0, 0.1), (0.1, 0.1)), (0.0, 0.01, 1.0, 3.0), (0, 1500)
    ):
        window = {"actors": actors, "units": 100, "began": 0.0, "ended": WALL_S}
        decode, label = (
            Stage(busy_s=share * actors * WALL_S, cpu_s=cpu * share * WALL_S, **window)
            for share in busy
        )
        slots = {"views": views, "slots": 2 * views}
        yield Stages(decode, Stage(**(vars(label) | slots)))
    yield Stages()
    yield Stages(decode=Stage(actors=1, units=3, busy_s=1.0, began=0.0, ended=WALL_S))
    yield Stages(label=Stage(actors=1, units=3, busy_s=0.0, began=0.0, ended=WALL_S))


@pytest.mark.parametrize("cores", [0, 0.5, 1, 2, 3, 4])
def test_every_measurement_has_its_sentence_or_none_on_so_few_cores(cores):
    for capacity, stages in itertools.product(capacities(cores), measured()):
        said = bottleneck(stages, capacity)
        assert (said is None) == (not stages.are_measured)
        fit = fit_decoders(stages, capacity)
        assert fit is None or fit.decoders >= 1


def test_cores_are_never_said_to_be_used_more_than_whole():
    full = Stage(actors=2, units=100, busy_s=200, cpu_s=180, began=0, ended=100, views=9, slots=9)
    capacity = Capacity(0, 1, 1, batch_size=8, full_batch=8, views_per_call=15)
    said = bottleneck(Stages(full, full), capacity)
    assert said.startswith("the cores: labeling uses 50 % of 3.6 cores, decoding 50 %")


@pytest.mark.parametrize("gpus", [0, 1, 2])
@pytest.mark.parametrize("cpus", [0, 1])
def test_a_cluster_without_cores_for_the_graph_is_refused(cpus, gpus):
    with pytest.raises(UsageError, match=f"need {OVERHEAD_CPUS:g} cores .* cluster has {cpus}"):
        pools_of(cpus, gpus)


@pytest.mark.parametrize("gpus", [0, 1, 2])
@pytest.mark.parametrize("cpus", [2, 3, 4, 5, 6])
def test_pools_and_grain_of_the_smallest_clusters_work(cpus, gpus):
    for decoders, worth in itertools.product((None, (1, 1), (1, 2)), (1, 100)):
        pools = pools_of(cpus, gpus, decoders=decoders, labelers_worth=worth)
        assert 1 <= pools.decoders[0] <= pools.decoders[1]
        assert pools.labelers >= 1
        assert (pools.labeler_threads is None) == (gpus > 0)
        held = pools.decoders[1] * pools.decoder_cpus + pools.labelers * pools.labeler_cpus
        assert 0 <= held <= cpus - OVERHEAD_CPUS
        most = most_decoders(pools, cpus=cpus, memory=64 * 1024**3)
        assert 1 <= most <= 2 * cpus - (0 if gpus else pools.labelers) or most == 1
        for units, batch in itertools.product((1, 2, 1000), (1, 8, 32)):
            sizes = grain(
                PROTOCOL,
                batch_size=batch,
                units=units,
                decoders=pools.decoders[1],
                labelers=pools.labelers,
            )
            assert sizes.decode_rows >= 1
            assert sizes.label_rows % sizes.decode_rows == 0
        assert sample_size(PROTOCOL, pools, 8) >= 1


@pytest.mark.parametrize("cpus", [2, 3, 4])
def test_the_decoders_that_are_recommended_can_be_chosen(cpus):
    """A line such as `--decoders 3` must not lead to a refusal."""
    for gpus, stages in itertools.product((0, 1), measured()):
        pools = pools_of(cpus, gpus)
        capacity = Capacity(
            cores=cpus,
            most_decoders=most_decoders(pools, cpus=cpus),
            labeler_threads=pools.labeler_threads,
            batch_size=8,
            full_batch=8,
            views_per_call=15,
        )
        fit = fit_decoders(stages, capacity)
        if fit is not None:
            chosen = pools_of(cpus, gpus, decoders=(fit.decoders, fit.decoders))
            assert chosen.decoders[1] == fit.decoders


def test_memory_that_holds_hardly_anything_is_refused_and_never_divided_by():
    with pytest.raises(UsageError, match="of memory; Ray has"):
        plan_pools(cpus=2, gpus=0, memory=0.0, labeler_memory=1024**3)
    assert most_decoders(pools_of(2, 0), cpus=2, memory=0.0) == 1
    assert most_decoders(pools_of(2, 0), cpus=2, memory=math.inf) == 3
