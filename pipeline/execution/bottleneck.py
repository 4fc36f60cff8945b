"""Which stage holds a run up, and what to change: from what was measured to a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.execution.block_size import padding
from pipeline.execution.stage_stats import Stages

# Cores of which less than the rest is idle are what limits a run.
_CORES_FULL = 0.85

# One stage is ahead of the other where its actors could do so much more.
_AHEAD = 1.1

# What a pool is given beyond what the rates ask for: they vary from video to video.
MARGIN = 1.15

# Below this a stage waits for something else.
_BUSY = 0.7

# A graph that ran shorter was mostly starting and ending.
_SHORT_S = 20.0

_PADDING_WORTH_SAYING = 0.1
_LITTLE_PADDING = 0.03


@dataclass(frozen=True)
class Capacity:
    """What the cluster has for the pools, and how labelers batch.

    Attributes:
        cores: of the cluster, on which decoders, and labelers on CPUs, compute.
        most_decoders: as memory and the number of cores allow, beside the labelers.
        labeler_threads: CPU threads of each labeler; None on GPUs.
        batch_size: views per forward pass.
        full_batch: views from which on larger batches bring nothing.
        views_per_call: views of one call of a labeler, when no unit fails; None with early
            exit, where their number varies.
    """

    cores: float
    most_decoders: int
    labeler_threads: int | None
    batch_size: int
    full_batch: int
    views_per_call: int | None


@dataclass(frozen=True)
class Fit:
    """A pool of decoders that suits the labelers.

    Attributes:
        decoders: how many.
        why: the arithmetic, in one line.
    """

    decoders: int
    why: str


def fit_decoders(stages: Stages, room: Capacity, *, what: str = "videos") -> Fit | None:
    """The decoders that keep the labelers busy, as far as there is room; None if nothing was
    measured. `what` is what units are called.
    """
    wanted = _wanted(stages)
    if wanted is None:
        return None
    label, decode = stages.label.rate, stages.decode.rate
    most = _most(stages, room)
    why = (
        f"{stages.label.actors} labelers x {label:.3g} {what}/s / {decode:.3g} of a decoder "
        f"x {MARGIN:g} = {wanted} decoders"
    )
    if wanted > most:
        why += f"; there is room for {most}"
    return Fit(min(wanted, most), why)


def bottleneck(stages: Stages, room: Capacity) -> str | None:
    """Which stage holds the run up and what to change; None where nothing was measured."""
    if not stages.are_measured:
        return None
    if stages.wall_s < _SHORT_S:
        return (
            f"too short to tell: the workers ran for {stages.wall_s:.0f} s, mostly startup "
            f"({stages.brief()})."
        )
    return " ".join([_stage(stages, room), *_batches(stages, room)])


def _stage(stages: Stages, room: Capacity) -> str:
    if room.labeler_threads is not None and _are_cores_full(stages, room):
        return _cores(stages, room)
    if max(stages.decoders_busy, stages.labelers_busy) < _BUSY:
        return (
            f"neither stage ({stages.brief()}): both wait, for storage that takes results, for "
            f"cores that other programs use, or for each other where a run is short."
        )
    behind = _capacity_of_labelers(stages) / _capacity_of_decoders(stages)
    if behind > _AHEAD:
        return _decoding(stages, room, behind)
    if behind < 1 / _AHEAD:
        return _labeling(stages, room)
    return f"none: decoding and labeling are in balance ({stages.brief()})."


def _cores(stages: Stages, room: Capacity) -> str:
    used = (stages.label.cpu_s + stages.decode.cpu_s) / stages.wall_s
    # Ray may be told of fewer cores than its actors compute on, as by --num-cpus.
    cores = max(room.cores, used, 1.0)
    of_cores = 100 / (cores * stages.wall_s)
    label, decode = stages.label.cpu_s * of_cores, stages.decode.cpu_s * of_cores
    text = f"the cores: labeling takes {label:.0f} % of {cores:.3g} and decoding {decode:.0f} %"
    if label + decode < 100 * _CORES_FULL:
        text += ", and other programs much of the rest"
    return (
        f"{text}. More actors would only take turns; more cores, a GPU for the labelers or a "
        f"larger --r make it faster."
    )


def _decoding(stages: Stages, room: Capacity, behind: float) -> str:
    wanted, most = _wanted(stages), _most(stages, room)
    assert wanted is not None
    text = f"decoding ({stages.brief()}); "
    if wanted <= most:
        return (
            f"{text}{behind:.1f} times as many would keep the labelers busy: --decoders {wanted}."
        )
    needed = math.ceil(wanted * _cores_of_a_decoder(stages))
    text += f"{behind:.1f} times as many would keep the labelers busy: {wanted} decoders, "
    if needed > room.cores:
        text += f"which need {needed} cores; {room.cores:g} are there"
    else:
        text += f"for {most} of which there is memory"
    text += ". Add machines without GPUs"
    return (
        f"{text}, and --decoders {most} meanwhile." if most > stages.decode.actors else f"{text}."
    )


def _labeling(stages: Stages, room: Capacity) -> str:
    text = f"labeling ({stages.brief()}); "
    wanted, have = _wanted(stages), stages.decode.actors
    assert wanted is not None
    if room.labeler_threads is not None:
        return f"{text}cores are idle: --labelers {stages.label.actors + 1}."
    text += "more GPUs or a larger --r make it faster"
    if wanted < have:
        freed = math.floor((have - wanted) * _cores_of_a_decoder(stages)) or 1
        plural = "s" if freed > 1 else ""
        return (
            f"{text}, and {wanted} decoders instead of {have} would do: --decoders {wanted} frees "
            f"{freed} core{plural}."
        )
    return f"{text}."


def _batches(stages: Stages, room: Capacity) -> list[str]:
    size = room.batch_size
    if stages.label.padding > _PADDING_WORTH_SAYING:
        if room.views_per_call is None:
            return [
                f"{100 * stages.label.padding:.0f} % of the labelers' batches of {size} views is "
                f"padding or was not needed in the end; smaller batches waste less (--batch-size)."
            ]
        better = _filled_batch(room.views_per_call, size)
        if better is not None:
            return [
                f"{100 * stages.label.padding:.0f} % of the labelers' batches of {size} views is "
                f"padding: --batch-size {better}."
            ]
    elif size < room.full_batch:
        return [f"Batches of {size} views are small: --batch-size {room.full_batch}."]
    return []


def _filled_batch(views: int, batch_size: int) -> int | None:
    """The largest batch that a call's views fill; None where the present one is no worse."""
    if padding(views, batch_size) <= _LITTLE_PADDING:
        return None  # units that failed left the gaps
    sizes = range(batch_size, 0, -1)
    return next(s for s in sizes if padding(views, s) <= _LITTLE_PADDING)


def _wanted(stages: Stages) -> int | None:
    """Decoders that keep the labelers busy, a margin included."""
    if not stages.are_measured:
        return None
    assert stages.decode.rate is not None
    return max(1, math.ceil(MARGIN * _capacity_of_labelers(stages) / stages.decode.rate))


def _most(stages: Stages, room: Capacity) -> int:
    """Decoders that there is room for; those that wait for storage take less than a core each."""
    return max(1, min(room.most_decoders, int(room.cores / _cores_of_a_decoder(stages))))


def _cores_of_a_decoder(stages: Stages) -> float:
    """Cores that a decoder uses while it is busy."""
    return min(1.0, max(0.1, stages.decode.cpu_s / stages.decode.busy_s))


def _are_cores_full(stages: Stages, room: Capacity) -> bool:
    """Whether labelers on CPUs leave no core idle, or none that other programs leave them."""
    used = stages.decode.cpu_s + stages.label.cpu_s
    threads = stages.label.actors * (room.labeler_threads or 0)
    return used >= _CORES_FULL * room.cores * stages.wall_s or (
        threads >= _CORES_FULL * room.cores and stages.labelers_busy >= _CORES_FULL
    )


def _capacity_of_decoders(stages: Stages) -> float:
    """Units per second of all decoders, were they never to wait."""
    return stages.decode.actors * (stages.decode.rate or 0.0)


def _capacity_of_labelers(stages: Stages) -> float:
    return stages.label.actors * (stages.label.rate or 0.0)
