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
        labelers: label actors.
        labeler_cpus: cores that each reserves.
        labeler_gpus: GPUs that each reserves.
        labeler_threads: CPU threads of each labeler; None on a GPU.
        labeler_memory: bytes that each reserves.
    """

    decoders: tuple[int, int]
    decoder_cpus: float
    labelers: int
    labeler_cpus: float
    labeler_gpus: float
    labeler_threads: int | None
    labeler_memory: int = 0


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
        raise UsageError(f"takes N or MIN:MAX with 1 <= MIN <= MAX, or {AUTO}; got {text!r}")
    return sizes


def plan_pools(
    *,
    cpus: float,
    gpus: float,
    memory: float = math.inf,
    nodes: int = 1,
    decoders: tuple[int, int] | None = None,
    labelers: int | None = None,
    labelers_worth: int = 1,
    labeler_memory: int = 0,
) -> Pools:
    """Pools that fit a cluster.

    On a GPU a labeler takes the whole of it. On CPUs labelers of one thread each get the most out
    of the cores: threads of one labeler wait for each other whenever a decoder holds one of them
    up. So there are as many as cores, if the work is worth starting them and memory holds them.

    Args:
        cpus: cores that Ray may hand out.
        gpus: GPUs that Ray may hand out; labelers run on CPUs where there are none.
        memory: bytes that Ray may hand out.
        nodes: machines in the cluster.
        decoders: (min, max) if the user chose.
        labelers: number if the user chose.
        labelers_worth: labelers on CPUs that the work is worth starting.
        labeler_memory: bytes that a labeler takes.

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
    if gpus >= 1 and labelers is not None and labelers > gpus:
        raise UsageError(
            f"{labelers} labelers need {labelers} GPUs; the cluster has {gpus:g}; of one that "
            f"grows on demand, name the most with --max-gpus"
        )
    rest = memory - FILTER_MEMORY
    if labelers is None and gpus >= 1:
        labelers = int(gpus)
    elif labelers is None:
        fitting = (rest - DECODER_MEMORY) // labeler_memory if labeler_memory else math.inf
        labelers = max(nodes, int(min(labelers_worth, spare, fitting)), 1)
    on_cpu = 0 if gpus >= 1 else labelers
    rest -= labelers * labeler_memory
    if decoders is None:
        # Labeling on a CPU takes most of the work; on GPUs the decoders do.
        most = spare / 2 if on_cpu else spare
        decoders = (max(1, int(min(most, rest // DECODER_MEMORY))),) * 2
    _check_memory(memory, decoders[1], labelers, labeler_memory)
    actors = decoders[1] + on_cpu
    if actors > _ACTORS_PER_CPU * cpus:
        raise UsageError(
            f"{decoders[1]} decoders and {on_cpu} labelers on CPUs are {actors} actors; with "
            f"{cpus:g} cores there can be {int(_ACTORS_PER_CPU * cpus)} at most"
        )
    share = round(min(1.0, int(100 * spare / actors) / 100), 2)
    return Pools(
        decoders=decoders,
        decoder_cpus=share,
        labelers=labelers,
        labeler_cpus=share if on_cpu else 0.0,
        labeler_gpus=0.0 if on_cpu else 1.0,
        labeler_threads=max(1, int(spare) // labelers) if on_cpu else None,
        labeler_memory=labeler_memory,
    )


def most_decoders(pools: Pools, *, cpus: float, memory: float = math.inf) -> int:
    """Decoders that a cluster holds beside these labelers, at the most."""
    on_cpu = 0 if pools.labeler_gpus else pools.labelers
    rest = memory - FILTER_MEMORY - pools.labelers * pools.labeler_memory
    return max(1, int(min(_ACTORS_PER_CPU * cpus - on_cpu, rest // DECODER_MEMORY)))


def _check_memory(memory: float, decoders: int, labelers: int, labeler_memory: int) -> None:
    needed = FILTER_MEMORY + decoders * DECODER_MEMORY + labelers * labeler_memory
    if needed <= memory:
        return
    beside = f", {labelers} labelers of {_gib(labeler_memory)}" if labeler_memory else ""
    raise UsageError(
        f"{decoders} decoders of {_gib(DECODER_MEMORY)}{beside} and the checkpoint filter's "
        f"{_gib(FILTER_MEMORY)} need {_gib(needed)} of memory; Ray has {_gib(memory)} to give"
    )


def _gib(count: float) -> str:
    return f"{count / 1024**3:.2g} GiB"
