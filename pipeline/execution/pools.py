"""Sizes of the actor pools, and what each actor reserves.

The graph needs cores for its own steps: resuming runs the checkpoint filter in an actor that
reserves one core, and splitting the manifest into commits runs in tasks of one core. If the pools
reserved all cores, these steps would never run and the job would hang. So the pools share the
cores that remain. Each driver of a run has a graph of its own, with such steps and a part of the
pools.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from pipeline.errors import UsageError
from workers.decoding.types import DecodeLimits

AUTO: Final = "auto"

FILTER_CPUS = 1.0
TASK_CPUS = 1.0
OVERHEAD_CPUS = FILTER_CPUS + TASK_CPUS

# Cores of a task that reads the manifest or writes results. One core would idle a decoder; much
# less would start a process for every file at once.
IO_CPUS = 0.5

# Bytes that Ray reserves. For a decoder: what its actor and its idle child process hold, together
# with an S3 client, a fetched video and the frames of a unit (measured: 130 MiB without these), and
# what the child may take beyond that. For Ray Data's checkpoint filter: the least that it requests.
DECODER_MEMORY = 288 * 1024**2 + DecodeLimits().small_memory_bytes
FILTER_MEMORY = 1024**3

# An H100 has seven video engines, an A10G two; a decoder also converts colors on a core.
_DECODERS_PER_GPU = 4
# Decoders of further clips for each other decoder. While they have nothing to do, the others use
# their cores.
FURTHER_SHARE = 0.5

# More actors per core would only take turns and use memory.
_ACTORS_PER_CPU = 2


@dataclass(frozen=True)
class Pools:
    """Sizes and reservations of the two pools.

    Attributes:
        decoders: (min, max) number of decode actors.
        decoder_cpus: cores that each decoder reserves.
        further_decoders: decoders beside them, which labelers ask for further clips; 0 where all
            clips of a video are decoded at once.
        labelers: number of label actors.
        labeler_cpus: cores that each labeler reserves.
        labeler_gpus: GPUs that each labeler reserves; less than one where decoders share its GPU.
        labeler_threads: CPU threads of each labeler; None on a GPU.
        labeler_memory: bytes that each labeler reserves.
        decoder_gpus: GPUs that each decoder reserves.
        drivers: number of drivers that share the pools.
    """

    decoders: tuple[int, int]
    decoder_cpus: float
    labelers: int
    labeler_cpus: float
    labeler_gpus: float
    labeler_threads: int | None
    labeler_memory: int = 0
    decoder_gpus: float = 0.0
    drivers: int = 1
    further_decoders: int = 0

    @property
    def most_decoders(self) -> int:
        """The largest number of decoders of both kinds."""
        return self.decoders[1] + self.further_decoders

    def divided(self, drivers: int) -> list[Pools]:
        """The pools of so many drivers; they differ by one actor of a kind at the most."""
        low, high = (_divided(size, drivers) for size in self.decoders)
        labelers = _divided(self.labelers, drivers)
        return [
            replace(
                self,
                decoders=(max(1, least), most),
                labelers=count,
                drivers=1,
                further_decoders=_further(most) if self.further_decoders else 0,
            )
            for least, most, count in zip(low, high, labelers, strict=True)
        ]


def parse_decoders(text: str) -> tuple[int, int] | Literal["auto"]:
    """(min, max) of "N" or "MIN:MAX"; AUTO if rates are to be measured."""
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
    decode_on_gpu: bool = False,
    drivers: int = 1,
    further: bool = False,
) -> Pools:
    """Pools that fit a cluster.

    A labeler on a GPU takes the whole GPU. On CPUs, labelers of one thread each use the cores best,
    since threads of one labeler wait for each other whenever a decoder delays one of them. So there
    is one labeler per core, as far as the work justifies them and memory holds them.

    Args:
        cpus: cores that Ray can assign.
        gpus: GPUs that Ray can assign; without one, labelers run on CPUs.
        memory: bytes that Ray can assign.
        nodes: machines in the cluster.
        decoders: (min, max) that the user chose; None to choose here.
        labelers: number that the user chose; None to choose here.
        labelers_worth: labelers on CPUs that the work justifies.
        labeler_memory: bytes that each labeler reserves.
        decode_on_gpu: whether decoders use GPUs; each GPU then has as many as any other, and one
            labeler.
        drivers: number of drivers, each with a graph of its own.
        further: whether labelers ask for further clips, which takes decoders beside the others.

    Raises:
        UsageError: the pools do not fit the cluster; the message has the arithmetic.
    """
    spare = cpus - drivers * OVERHEAD_CPUS
    if spare < 0:
        each = "" if drivers == 1 else f" of each of {drivers} drivers"
        raise UsageError(
            f"the graph's own steps need {OVERHEAD_CPUS:g} cores{each} ({FILTER_CPUS:g} for the "
            f"checkpoint filter, {TASK_CPUS:g} for tasks) and the cluster has {cpus:g}; if it "
            f"grows on demand, give its largest size with --max-cpus"
        )
    if gpus >= 1 and labelers is not None and labelers > gpus:
        raise UsageError(
            f"{labelers} labelers need {labelers} GPUs; the cluster has {gpus:g}; if it grows on "
            f"demand, give its largest size with --max-gpus"
        )
    if decode_on_gpu and gpus < 1:
        raise UsageError(
            "--decoder nvdec decodes on GPUs, and the cluster has none; use --decoder pyav, or "
            "give the largest size of a cluster that grows on demand with --max-gpus"
        )
    rest = memory - drivers * FILTER_MEMORY
    if labelers is None and gpus >= 1:
        labelers = int(gpus)
    elif labelers is None:
        fitting = (rest - DECODER_MEMORY) // labeler_memory if labeler_memory else math.inf
        labelers = max(nodes, int(min(labelers_worth, spare, fitting)), 1)
    on_cpu = 0 if gpus >= 1 else labelers
    rest -= labelers * labeler_memory
    if decoders is None:
        # On CPUs labeling is most of the work; with GPUs decoding is most of the CPU work.
        most = spare / 2 if on_cpu else spare
        fitting = rest // DECODER_MEMORY
        if further:  # half a decoder more at each driver, which `_further` rounds up
            fitting = (fitting - drivers / 2) // (1 + FURTHER_SHARE)
        decoders = (max(1, int(min(most, fitting))),) * 2
        if decode_on_gpu:
            decoders = (min(decoders[1], _DECODERS_PER_GPU * int(gpus)),) * 2
    if decode_on_gpu:
        # With an even number, every GPU gets as many decoders of further clips as any other.
        step = int(gpus) * (2 if further else 1)
        decoders = (-(-decoders[1] // step) * step,) * 2
    others = sum(map(_further, _divided(decoders[1], drivers))) if further else 0
    every = decoders[1] + others
    shared = _SharedGpu(-(-every // int(gpus))) if decode_on_gpu else None
    _check_memory(memory, every, labelers, labeler_memory, drivers)
    _check_drivers(drivers, decoders[1], labelers)
    actors = every + on_cpu
    if actors > _ACTORS_PER_CPU * cpus:
        beside = f" (of these {others} for further clips)" if others else ""
        raise UsageError(
            f"{every} decoders{beside} and {on_cpu} labelers on CPUs are {actors} actors; with "
            f"{cpus:g} cores there can be {int(_ACTORS_PER_CPU * cpus)} at most"
        )
    share = round(min(1.0, int(100 * spare / actors) / 100), 2)
    return Pools(
        decoders=decoders,
        decoder_cpus=share,
        labelers=labelers,
        labeler_cpus=share if on_cpu else 0.0,
        labeler_gpus=0.0 if on_cpu else 1.0 if shared is None else shared.labeler_share,
        labeler_threads=max(1, int(spare) // labelers) if on_cpu else None,
        labeler_memory=labeler_memory,
        decoder_gpus=0.0 if shared is None else shared.decoder_share,
        drivers=drivers,
        further_decoders=others,
    )


@dataclass(frozen=True)
class _SharedGpu:
    """Shares of a GPU, for so many ``decoders`` and one labeler.

    Ray fills one GPU before it takes the next. One decoder more does not fit on a GPU, and beside
    all of them one labeler alone, so that every GPU gets the same.
    """

    decoders: int

    @property
    def decoder_share(self) -> float:
        return math.floor(10_000 / (self.decoders + 0.75)) / 10_000  # Ray's precision

    @property
    def labeler_share(self) -> float:
        return round(1 - self.decoders * self.decoder_share, 4)


def most_decoders(pools: Pools, *, cpus: float, memory: float = math.inf) -> int:
    """The largest number of decoders that a cluster holds beside these labelers, without those of
    further clips.
    """
    on_cpu = 0 if pools.labeler_gpus else pools.labelers
    rest = memory - pools.drivers * FILTER_MEMORY - pools.labelers * pools.labeler_memory
    every = min(_ACTORS_PER_CPU * cpus - on_cpu, rest // DECODER_MEMORY)
    return max(1, int(every / (1 + FURTHER_SHARE) if pools.further_decoders else every))


def _further(decoders: int) -> int:
    """Decoders of further clips beside so many of one driver."""
    return math.ceil(FURTHER_SHARE * decoders)


def _divided(count: int, parts: int) -> list[int]:
    """`count` as a sum of whole numbers that differ by one at the most."""
    return [count * (part + 1) // parts - count * part // parts for part in range(parts)]


def _check_drivers(drivers: int, decoders: int, labelers: int) -> None:
    if drivers > min(decoders, labelers):
        raise UsageError(
            f"--drivers {drivers}: each driver needs a decoder and a labeler of its own; there are "
            f"{decoders} decoders and {labelers} labelers, so {min(decoders, labelers)} drivers "
            f"are the most"
        )


def _check_memory(
    memory: float, decoders: int, labelers: int, labeler_memory: int, drivers: int
) -> None:
    needed = drivers * FILTER_MEMORY + decoders * DECODER_MEMORY + labelers * labeler_memory
    if needed <= memory:
        return
    beside = f", {labelers} labelers of {_gib(labeler_memory)}" if labeler_memory else ""
    each = "" if drivers == 1 else f" for each of {drivers} drivers"
    raise UsageError(
        f"{decoders} decoders of {_gib(DECODER_MEMORY)}{beside} and the checkpoint filter's "
        f"{_gib(FILTER_MEMORY)}{each} need {_gib(needed)} of memory; Ray has {_gib(memory)} to "
        f"give"
    )


def _gib(count: float) -> str:
    return f"{count / 1024**3:.2g} GiB"
