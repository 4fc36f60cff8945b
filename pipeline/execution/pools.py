"""How many actors of each pool, and what each reserves, so that the graph can always move.

Besides the pools the graph needs cores for its own steps. Resuming runs the checkpoint filter in an
actor that reserves one core for as long as it lives, and splitting the manifest into commits runs
in tasks of one core. Actors that held every other core would starve these steps, and the job would
hang without a word; so the pools share what is left over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.errors import UsageError

AUTO: Final = "auto"

FILTER_CPUS = 1.0
TASK_CPUS = 1.0
OVERHEAD_CPUS = FILTER_CPUS + TASK_CPUS

# Reading the manifest and writing results are light; one core each would idle a decoder, and much
# less would start a process for every file at once.
IO_CPUS = 0.5

# Memory that Ray sets aside: per decoder the child's usual peak and its parent, and what the
# checkpoint filter of Ray Data asks for at the least.
DECODER_MEMORY = 600 * 1024**2
FILTER_MEMORY = 1024**3

# More actors than this only take turns on a core and fill memory.
_ACTORS_PER_CPU = 2


@dataclass(frozen=True)
class Pools:
    """Sizes and reservations of the two pools.

    Attributes:
        decoders: (min, max) decode actors.
        decoder_cpus: cores that each reserves.
        labellers: label actors.
        labeller_cpus: cores that each reserves.
        labeller_gpus: GPUs that each reserves.
        labeller_threads: CPU threads of each labeller; None on a GPU.
        labeller_memory: bytes that each reserves.
    """

    decoders: tuple[int, int]
    decoder_cpus: float
    labellers: int
    labeller_cpus: float
    labeller_gpus: float
    labeller_threads: int | None
    labeller_memory: int = 0


def parse_decoders(text: str) -> tuple[int, int] | Literal["auto"]:
    """(min, max) of "N" or "MIN:MAX"; AUTO for what fits the rates that are measured."""
    if text == AUTO:
        return AUTO
    low, _, high = text.partition(":")
    try:
        sizes = int(low), int(high or low)
    except ValueError:
        sizes = 0, 0
    if not 1 <= sizes[0] <= sizes[1]:
        raise UsageError(
            f"--decoders takes N or MIN:MAX with 1 <= MIN <= MAX, or {AUTO}; got {text!r}"
        )
    return sizes


def plan_pools(
    *,
    cpus: float,
    gpus: float,
    memory: float = math.inf,
    nodes: int = 1,
    decoders: tuple[int, int] | None = None,
    labellers: int | None = None,
    labellers_worth: int = 1,
    labeller_memory: int = 0,
) -> Pools:
    """Pools that fit a cluster.

    On a GPU a labeller takes the whole of it. On CPUs labellers of one thread each get the most out
    of the cores: threads of one labeller wait for each other whenever a decoder holds one of them
    up. So there are as many as cores, if the work is worth starting them and memory holds them.

    Args:
        cpus: cores that Ray may hand out.
        gpus: GPUs that Ray may hand out; labellers run on CPUs where there are none.
        memory: bytes that Ray may hand out.
        nodes: machines in the cluster.
        decoders: (min, max) if the user chose.
        labellers: number if the user chose.
        labellers_worth: labellers on CPUs that the work is worth starting.
        labeller_memory: bytes that a labeller takes.

    Raises:
        UsageError: no such pools fit; the message holds the arithmetic.
    """
    spare = cpus - OVERHEAD_CPUS
    if spare < 0:
        raise UsageError(
            f"the graph's own steps need {OVERHEAD_CPUS:g} cores ({FILTER_CPUS:g} for the "
            f"checkpoint filter, {TASK_CPUS:g} for tasks) and the cluster has {cpus:g}; of one "
            f"that grows on demand, name the most with --max-cpus"
        )
    if gpus >= 1 and labellers is not None and labellers > gpus:
        raise UsageError(
            f"{labellers} labellers need {labellers} GPUs; the cluster has {gpus:g}; of one that "
            f"grows on demand, name the most with --max-gpus"
        )
    rest = memory - FILTER_MEMORY
    if labellers is None and gpus >= 1:
        labellers = int(gpus)
    elif labellers is None:
        fitting = (rest - DECODER_MEMORY) // labeller_memory if labeller_memory else math.inf
        labellers = max(nodes, int(min(labellers_worth, spare, fitting)), 1)
    on_cpu = 0 if gpus >= 1 else labellers
    rest -= labellers * labeller_memory
    if decoders is None:
        # Labelling on a CPU takes most of the work; on GPUs the decoders do.
        most = spare / 2 if on_cpu else spare
        decoders = (max(1, int(min(most, rest // DECODER_MEMORY))),) * 2
    _check_memory(memory, decoders[1], labellers, labeller_memory)
    actors = decoders[1] + on_cpu
    if actors > _ACTORS_PER_CPU * cpus:
        raise UsageError(
            f"{decoders[1]} decoders and {on_cpu} labellers on CPUs are {actors} actors; with "
            f"{cpus:g} cores there can be {int(_ACTORS_PER_CPU * cpus)} at most"
        )
    share = round(min(1.0, int(100 * spare / actors) / 100), 2)
    return Pools(
        decoders=decoders,
        decoder_cpus=share,
        labellers=labellers,
        labeller_cpus=share if on_cpu else 0.0,
        labeller_gpus=0.0 if on_cpu else 1.0,
        labeller_threads=max(1, int(spare) // labellers) if on_cpu else None,
        labeller_memory=labeller_memory,
    )


def most_decoders(pools: Pools, *, cpus: float, memory: float = math.inf) -> int:
    """Decoders that a cluster holds beside these labellers, at the most."""
    on_cpu = 0 if pools.labeller_gpus else pools.labellers
    rest = memory - FILTER_MEMORY - pools.labellers * pools.labeller_memory
    return max(1, int(min(_ACTORS_PER_CPU * cpus - on_cpu, rest // DECODER_MEMORY)))


def _check_memory(memory: float, decoders: int, labellers: int, labeller_memory: int) -> None:
    needed = FILTER_MEMORY + decoders * DECODER_MEMORY + labellers * labeller_memory
    if needed <= memory:
        return
    beside = f", {labellers} labellers of {_gib(labeller_memory)}" if labeller_memory else ""
    raise UsageError(
        f"{decoders} decoders of {_gib(DECODER_MEMORY)}{beside} and the checkpoint filter's "
        f"{_gib(FILTER_MEMORY)} need {_gib(needed)} of memory; Ray has {_gib(memory)} to give"
    )


def _gib(count: float) -> str:
    return f"{count / 1024**3:.2g} GiB"
