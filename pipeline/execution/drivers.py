"""Several drivers of one run: each runs a graph of its own over a slice of the units.

A driver's CPU time per block of units limits a run with many GPUs (`python -m
tests.scale.graph_rows`). A run with several drivers is one run all the same: one command holds its
lease, counts its failures and shows its progress; all drivers write to one units/ and one
_checkpoint/. When one of them fails, the others are ended and the command resumes the run.

The drivers are Ray actors on the machine of the command. They reserve no core of the cluster. That
machine needs about two cores and a gigabyte of memory for each, with what counts for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import ray
from ray.data import DataContext, ExecutionResources
from ray.data._internal.cluster_autoscaler import RateBasedClusterAutoscaler
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import RunError
from pipeline.execution.graph import GraphConfig, run_graph
from pipeline.execution.pools import OVERHEAD_CPUS, Pools
from pipeline.execution.progress import Reporter
from pipeline.execution.run_failure import root_cause
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import Slice, slices_of_missing
from pipeline.storage.location import Location

# A driver for fewer units starts a graph for too little.
_UNITS_PER_DRIVER = 16


def run_drivers(
    run: RunDirectory,
    config: GraphConfig,
    report: Reporter,
    *,
    manifest: Location | None = None,
    within: Slice | None = None,
) -> None:
    """Labels every unit that has no committed row yet, with `config.pools.drivers` drivers.

    A run of few units takes fewer drivers; a single one runs in this process.

    Args:
        run: the run; nothing else may write to it meanwhile.
        config: configuration of the graph.
        report: receives what the actors did.
        manifest: manifest to read; None for the run's own.
        within: slice of the units to label; None for all.

    Raises:
        RunError: a driver ended without an error of its own; the others are ended too.
    """
    slices: list[Slice] = []
    if config.pools.drivers > 1:
        slices = slices_of_missing(
            manifest or run.manifest,
            run.units,
            most=config.pools.drivers,
            least=_UNITS_PER_DRIVER,
            within=within,
        )
    if len(slices) <= 1:
        run_graph(run, config, report, manifest=manifest, within=within)
        return
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    configs = [
        replace(config, pools=pools, drivers=len(slices))
        for pools in config.pools.divided(len(slices))
    ]
    driver = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(GraphDriver)
    context = DataContext.get_current()
    drivers = [driver.remote(len(slices), context) for _ in slices]
    try:
        numbers = {
            each.run.remote(run, its, report.of(number), manifest, part): number
            for number, (each, its, part) in enumerate(zip(drivers, configs, slices, strict=True))
        }
        waiting = list(numbers)
        while waiting:
            (ended,), waiting = ray.wait(waiting)
            try:
                ray.get(ended)
            except ray.exceptions.RayTaskError:
                raise  # of its graph, such as an actor of a pool that could not start
            except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
                raise RunError(
                    f"driver {numbers[ended] + 1} of {len(slices)} ended: {root_cause(error)}"
                ) from error
    finally:
        # Ray ends the actors and tasks of a driver with it.
        for each in drivers:
            ray.kill(each)


class GraphDriver:
    """Runs the graph in a process of its own, beside other drivers.

    Args:
        drivers: how many there are.
        context: settings of Ray Data.
    """

    def __init__(self, drivers: int, context: DataContext) -> None:
        DataContext._set_current(context)
        # Ray Data divides every machine's resources among the graphs that run at the same time, in
        # whole numbers: of a machine with one GPU each of two graphs gets none, and so the graph
        # starts no tasks at all.
        RateBasedClusterAutoscaler.get_total_resources = _Share(drivers)

    def run(
        self,
        run: RunDirectory,
        config: GraphConfig,
        report: Reporter,
        manifest: Location | None,
        within: Slice,
    ) -> None:
        """Labels the units of a slice."""
        context = DataContext.get_current()
        context.execution_options.resource_limits = limits(config.pools)
        run_graph(run, config, report, manifest=manifest, within=within)


@dataclass(frozen=True)
class _Share:
    """The cluster as it is now, of whose object stores each driver has an equal share. `limits`
    says which part of its cores and GPUs a driver has.
    """

    drivers: int

    def __call__(self) -> ExecutionResources:
        found = ExecutionResources.zero()
        for node in ray.nodes():
            resources = node["Resources"]
            # As Ray Data does: the object store of a head without cores holds no blocks.
            if node["Alive"] and (resources.get("CPU") or resources.get("GPU")):
                found = found.add(ExecutionResources.from_resource_dict(resources))
        return found.copy(object_store_memory=found.object_store_memory / self.drivers)


def limits(pools: Pools) -> ExecutionResources:
    """The cores and GPUs of one driver's graph: those of its pools and of its own steps."""
    cpus = pools.decoders[1] * pools.decoder_cpus + pools.labelers * pools.labeler_cpus
    gpus = pools.decoders[1] * pools.decoder_gpus + pools.labelers * pools.labeler_gpus
    return ExecutionResources.for_limits(cpu=cpus + OVERHEAD_CPUS, gpu=gpus)
