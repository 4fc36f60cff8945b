"""Pools and block sizes that a labeling job chooses on a machine, computed without Ray."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.execution.block_size import (
    Grain,
    default_batch,
    labeler_bytes,
    labelers_worth_starting,
    unit_bytes,
)
from pipeline.execution.graph import GraphConfig
from pipeline.execution.pools import AUTO, OVERHEAD_CPUS, Pools, plan_pools
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.planner.rates import Machine
from workers.decoding import DECODERS, DecodeLimits
from workers.decoding.types import NVDEC
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.machine import available_memory
from workers.sampling import Protocol

# Ray takes 30 % of the available memory for the object store and gives the rest to actors.
_ACTORS_SHARE = 0.7
_STORE_SHARE = 0.3


@dataclass(frozen=True)
class LocalPools:
    """The pools of a run on the measured machine itself."""

    decoders: int
    labelers: int


def ray_memory() -> float:
    """Bytes that Ray would give to actors if it started now on this machine."""
    return _ACTORS_SHARE * available_memory()


def store_bytes(machine: Machine) -> float:
    """Bytes of the machine's object store."""
    return machine.memory / _ACTORS_SHARE * _STORE_SHARE


def pools_of(plan: LabelPlan, options: LabelOptions, machine: Machine, units: int) -> Pools:
    """The pools of a run of `units` units on this machine alone.

    Raises:
        UsageError: they do not fit; the message shows the arithmetic.
    """
    on_gpu = machine.gpus > 0
    batch = options.batch_size or default_batch(plan.protocol, on_gpu=on_gpu)
    architecture = plan.model.architecture
    return plan_pools(
        cpus=machine.cpus + OVERHEAD_CPUS,  # as `ray_session.start_ray` tells Ray
        gpus=machine.gpus,
        memory=machine.memory,
        decoders=None if options.decoders == AUTO else options.decoders,
        labelers=options.labelers,
        labelers_worth=labelers_worth_starting(int(units * plan.expected_views)),
        labeler_memory=labeler_bytes(
            architecture,
            plan.protocol,
            on_gpu=on_gpu,
            batch_size=batch,
            models=2 if options.shadow_share else 1,
        ),
        decode_on_gpu=options.decoder == NVDEC,
        further=plan.early_exit_file is not None and len(plan.protocol.looks()) > 1,
    )


def grain_rule(
    protocol: Protocol, batch_size: int | None, units: int, *, on_gpu: bool
) -> Callable[[int, int, bool], tuple[Grain, int]]:
    """A function of (decoders, labelers, early exit or not) to the block sizes and the units per
    commit of a run.
    """

    graph_of = graph_rule(protocol, batch_size, units, on_gpu=on_gpu)

    def of(decoders: int, labelers: int, adaptive: bool) -> tuple[Grain, int]:
        graph = graph_of(decoders, labelers, adaptive)
        return graph.grain, graph.commit_rows

    return of


def graph_rule(
    protocol: Protocol, batch_size: int | None, units: int, *, on_gpu: bool
) -> Callable[[int, int, bool], GraphConfig]:
    """A function of (decoders, labelers, early exit or not) to a graph with the sizes of a run."""

    def of(decoders: int, labelers: int, adaptive: bool) -> GraphConfig:
        return GraphConfig(
            protocol=protocol,
            decoder=DECODERS[0],
            limits=DecodeLimits(),
            labeler=LabelerConfig("", batch_size=batch_size),
            pools=Pools((decoders, decoders), 1.0, labelers, 0.0, float(on_gpu), None),
            units=units,
            early_exit=EarlyExit(math.inf) if adaptive else None,
        )

    return of


def buffered_units(machine: Machine, protocol: Protocol) -> int:
    """Decoded units that fit into one machine's object store, half of which Ray Data keeps for the
    outputs of running tasks.
    """
    return max(1, int(store_bytes(machine) / 2 / unit_bytes(protocol)))
