"""The cluster that would label an archive by a deadline, from the rates of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.cost_report.shared import Work
from pipeline.cost_report.starts import Labellers
from pipeline.errors import UsageError
from pipeline.prices import Prices
from pipeline.resources import OVERHEAD_CPUS

# A pool that is kept fed is busy for most of the time; the rest goes into starting, the last
# batches, and waiting. A short run's own share says little of that: most of it is its start.
UTILISATION = 0.85
# Machines are sold by steps of cores.
CORES_PER_STEP = 4

_HOUR = 3600


@dataclass(frozen=True)
class Target:
    """What is to be done by when.

    Attributes:
        archive_hours: hours of video.
        deadline_s: seconds until it must be labelled.
    """

    archive_hours: float
    deadline_s: float

    def __post_init__(self) -> None:
        for name, value in (("archive-hours", self.archive_hours), ("deadline", self.deadline_s)):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"--{name} must be more than 0; got {value:g}")


@dataclass(frozen=True)
class Cluster:
    """A cluster that does it.

    Attributes:
        gpus: GPUs, whole ones.
        label_cores: cores that labellers on CPUs keep busy.
        decode_cores: cores that decoders keep busy.
        own_cores: cores for the graph's own steps.
        cores: all of these, rounded up to CORES_PER_STEP.
        hours: how long it takes.
        money: what it costs for that long, reading included; None without prices.
        bottleneck: which of them ends last: `GPUs` or `cores`.
    """

    gpus: int
    label_cores: int
    decode_cores: int
    own_cores: int
    cores: int
    hours: float
    money: float | None
    bottleneck: str


def cluster_for(
    target: Target, work: Work, labellers: Labellers, prices: Prices | None
) -> Cluster | None:
    """The cluster for an archive like the videos of `work`; None if these have no length."""
    if not work.video_ns:
        return None
    scale = target.archive_hours / work.video_hours
    gpu_s = scale * work.device_s * labellers.gpus
    label_s = scale * work.device_s * labellers.cpus
    decode_s = scale * work.decode_s
    each = target.deadline_s * UTILISATION
    gpus, label_cores, decode_cores = (
        math.ceil(need / each) for need in (gpu_s, label_s, decode_s)
    )
    own = math.ceil(OVERHEAD_CPUS)
    cores = _rounded(label_cores + decode_cores + own)
    on_gpus = gpu_s / (gpus * UTILISATION) if gpus else 0.0
    on_cores = (label_s + decode_s) / ((cores - own) * UTILISATION)
    seconds = max(on_gpus, on_cores)
    money = None
    if prices is not None:
        money = prices.held(gpus * seconds, cores * seconds)
        money += prices.reading(scale * work.bytes_read, scale * work.gets)
    return Cluster(
        gpus=gpus,
        label_cores=label_cores,
        decode_cores=decode_cores,
        own_cores=own,
        cores=cores,
        hours=seconds / _HOUR,
        money=money,
        bottleneck="GPUs" if on_gpus > on_cores else "cores",
    )


def _rounded(cores: int) -> int:
    return CORES_PER_STEP * math.ceil(cores / CORES_PER_STEP)
