"""The bottleneck of a run, and the flags that reduce it, in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.execution.block_size import batch_for, padding
from pipeline.execution.stage_stats import Stages
from pipeline.formatting import counted

# From this share of busy cores on, the cores limit a run.
_CORES_FULL = 0.85

# One stage is ahead of the other if its actors could do this many times as much.
_AHEAD = 1.1

# A pool is larger than the mean rates ask for by this factor: rates vary from video to video.
MARGIN = 1.15

# A stage whose actors are busy for a smaller share of the time waits for something else.
_BUSY = 0.7

# Startup and shutdown dominate a shorter run.
_SHORT_S = 20.0

_PADDING_WORTH_SAYING = 0.1
_LITTLE_PADDING = 0.03


@dataclass(frozen=True)
class Capacity:
    """What the cluster has for the pools, and how labelers batch.

    Attributes:
        cores: cores of the cluster, for decoders and for labelers on CPUs.
        most_decoders: largest number of decoders that memory and cores allow beside the labelers.
        labeler_threads: CPU threads of each labeler; None on GPUs.
        batch_size: views per forward pass.
        full_batch: views per forward pass above which larger batches bring nothing, if calls have
            as many views.
        views_per_call: views of one call of a labeler if no unit fails; None with early exit,
            where the number varies.
        drivers: number of drivers.
        driver_per_s: units per second that one of them passes through its graph, at the most.
        decoders_each: actors for each decoder of --decoders: above 1 where others decode further
            clips.
    """

    cores: float
    most_decoders: int
    labeler_threads: int | None
    batch_size: int
    full_batch: int
    views_per_call: int | None
    decoders_each: float = 1.0
    drivers: int = 1
    driver_per_s: float = math.inf


@dataclass(frozen=True)
class Fit:
    """A pool of decoders that suits the labelers.

    Attributes:
        decoders: number of decoders.
        why: the arithmetic, in one line.
    """

    decoders: int
    why: str


def fit_decoders(stages: Stages, capacity: Capacity, *, what: str = "videos") -> Fit | None:
    """The number of decoders that keeps the labelers busy, limited to what the cluster can hold.

    Args:
        stages: measured rates.
        capacity: what the cluster has.
        what: what units are called.

    Returns:
        None if nothing was measured.
    """
    wanted = _wanted(stages, capacity)
    if wanted is None:
        return None
    label, decode = stages.label.rate, stages.decode.rate
    most = _most(stages, capacity)
    why = (
        f"{counted(stages.label.actors, 'labelers')} x {label:.3g} {what}/s / {decode:.3g} of a "
        f"decoder x {MARGIN:g} = {counted(wanted, 'decoders')}"
    )
    if wanted > most:
        why += f"; the cluster can hold {most}"
    return Fit(min(wanted, most), why)


def bottleneck(stages: Stages, capacity: Capacity) -> str | None:
    """The stage that limits the run and what to change; None if nothing was measured."""
    if not stages.are_measured:
        return None
    if stages.wall_s < _SHORT_S:
        return (
            f"too short to tell: the workers ran for {stages.wall_s:.0f} s, which startup distorts."
        )
    return " ".join([_stage(stages, capacity), *_batches(stages, capacity)])


def _stage(stages: Stages, capacity: Capacity) -> str:
    if capacity.labeler_threads is not None and _are_cores_full(stages, capacity):
        return _cores(stages, capacity)
    if max(stages.decoders_busy, stages.labelers_busy) < _BUSY:
        rate = stages.label.units / stages.wall_s
        if rate > _BUSY * capacity.drivers * capacity.driver_per_s:
            return (
                f"the drivers ({stages.brief()}): one passes at most about "
                f"{capacity.driver_per_s:,.0f} a second through Ray, and the run did {rate:,.0f} "
                f"with {capacity.drivers}: --drivers {2 * capacity.drivers}."
            )
        return (
            f"neither stage ({stages.brief()}): both wait, for storage to accept results, for "
            f"cores that other programs use, or for each other in a short run."
        )
    behind = _capacity_of_labelers(stages) / _capacity_of_decoders(stages)
    if behind > _AHEAD:
        return _decoding(stages, capacity, behind)
    if behind < 1 / _AHEAD:
        return _labeling(stages, capacity)
    return f"none: decoding and labeling are in balance ({stages.brief()})."


def _cores(stages: Stages, capacity: Capacity) -> str:
    used = (stages.label.cpu_s + stages.decode.cpu_s) / stages.wall_s
    # Ray may know of fewer cores than its actors compute on, for example with --num-cpus.
    cores = max(capacity.cores, used, 1.0)
    of_cores = 100 / (cores * stages.wall_s)
    label, decode = stages.label.cpu_s * of_cores, stages.decode.cpu_s * of_cores
    text = f"the cores: labeling uses {label:.0f} % of {cores:.3g} cores, decoding {decode:.0f} %"
    if label + decode < 100 * _CORES_FULL:
        text += ", other programs much of the rest"
    return (
        f"{text}. More actors would not help; more cores, a GPU for the labelers or a larger --r "
        f"would."
    )


def _decoding(stages: Stages, capacity: Capacity, behind: float) -> str:
    wanted, most = _wanted(stages, capacity), _most(stages, capacity)
    assert wanted is not None
    text = f"decoding ({stages.brief()}); "
    if wanted <= most:
        return (
            f"{text}{behind:.1f} times as many decoders would keep the labelers busy: "
            f"--decoders {wanted}."
        )
    needed = math.ceil(wanted * capacity.decoders_each * _cores_of_a_decoder(stages))
    text += f"{behind:.1f} times as many decoders would keep the labelers busy: {wanted}, "
    if needed > capacity.cores:
        text += f"which need {needed} cores; the cluster has {capacity.cores:g}"
    else:
        text += f"but the memory is enough for {most} only"
    text += ". Add machines without GPUs"
    return (
        f"{text}; until then use --decoders {most}."
        if most > _have(stages, capacity)
        else f"{text}."
    )


def _labeling(stages: Stages, capacity: Capacity) -> str:
    text = f"labeling ({stages.brief()}); "
    wanted, have = _wanted(stages, capacity), _have(stages, capacity)
    assert wanted is not None
    if capacity.labeler_threads is not None:
        return f"{text}cores are idle: --labelers {stages.label.actors + 1}."
    text += "more GPUs or a larger --r make it faster"
    if wanted < have:
        freed = math.floor((have - wanted) * _cores_of_a_decoder(stages)) or 1
        return (
            f"{text}, and {counted(wanted, 'decoders')} instead of {have} would do: --decoders "
            f"{wanted} frees {counted(freed, 'cores')}."
        )
    return f"{text}."


def _batches(stages: Stages, capacity: Capacity) -> list[str]:
    size = capacity.batch_size
    batches = f"the labelers' batches of {counted(size, 'views')}"
    if stages.label.padding > _PADDING_WORTH_SAYING:
        if capacity.views_per_call is None:
            return [
                f"{100 * stages.label.padding:.0f} % of {batches} is "
                f"padding, or views that early exit did not need; a smaller --batch-size wastes "
                f"less."
            ]
        better = batch_for(capacity.views_per_call, capacity.full_batch)
        # Where the views of a call fill batches, failed units caused the padding.
        if size != better and padding(capacity.views_per_call, size) > _LITTLE_PADDING:
            return [
                f"{100 * stages.label.padding:.0f} % of {batches} is "
                f"padding: --batch-size {better}."
            ]
        return []
    views = capacity.views_per_call
    better = capacity.full_batch if views is None else batch_for(views, capacity.full_batch)
    if size < better:
        return [f"Batches of {counted(size, 'views')} are small: --batch-size {better}."]
    return []


def _wanted(stages: Stages, capacity: Capacity) -> int | None:
    """The value of --decoders that keeps the labelers busy, with a margin."""
    if not stages.are_measured:
        return None
    assert stages.decode.rate is not None
    every = MARGIN * _capacity_of_labelers(stages) / stages.decode.rate
    return max(1, math.ceil(every / capacity.decoders_each))


def _have(stages: Stages, capacity: Capacity) -> int:
    """The present value of --decoders, by the decoders that did something."""
    return max(1, round(stages.decode.actors / capacity.decoders_each))


def _most(stages: Stages, capacity: Capacity) -> int:
    """Decoders that the cluster can hold; one that waits for storage takes less than a core."""
    by_cores = capacity.cores / (_cores_of_a_decoder(stages) * capacity.decoders_each)
    return max(1, min(capacity.most_decoders, int(by_cores)))


def _cores_of_a_decoder(stages: Stages) -> float:
    """Cores that a decoder uses while it is busy."""
    return min(1.0, max(0.1, stages.decode.cpu_s / stages.decode.busy_s))


def _are_cores_full(stages: Stages, capacity: Capacity) -> bool:
    """Whether labelers on CPUs leave no core idle, apart from cores that other programs use."""
    used = stages.decode.cpu_s + stages.label.cpu_s
    threads = stages.label.actors * (capacity.labeler_threads or 0)
    return used >= _CORES_FULL * capacity.cores * stages.wall_s or (
        threads >= _CORES_FULL * capacity.cores and stages.labelers_busy >= _CORES_FULL
    )


def _capacity_of_decoders(stages: Stages) -> float:
    """Units per second of all decoders if they never waited."""
    return stages.decode.actors * (stages.decode.rate or 0.0)


def _capacity_of_labelers(stages: Stages) -> float:
    return stages.label.actors * (stages.label.rate or 0.0)
