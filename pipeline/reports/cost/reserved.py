"""What a run reserved against what its work took, in time and in money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.prices import DeviceTime, Prices
from pipeline.reports.cost.shared import RunRows
from pipeline.run.attempt_rows import AttemptRows


@dataclass(frozen=True)
class Held:
    """What was reserved over all attempts.

    Attributes:
        wall_s: wall time, summed over the attempts.
        core_s: cores of the cluster x that time.
        gpu_s: GPUs of the cluster x that time.
        attempts: how many there were.
        killed: attempts that did not end by themselves; each counts up to its last row.
    """

    wall_s: float
    core_s: float
    gpu_s: float
    attempts: int
    killed: int


@dataclass(frozen=True)
class ClusterUse:
    """What a run held, against what its work took, shadow sample and failed videos included.

    Attributes:
        used_core_s: core-seconds of decoding, and of labeling on CPUs.
        used_gpu_s: GPU-seconds of labeling.
        idle_core_s: the rest of the cores held; below 0 where processes shared cores.
        idle_gpu_s: the rest of the GPUs held.
        cost: of the cluster (what was held, and reading); None without prices.
        idle_cost: what of that the work did not take; None without prices.
    """

    used_core_s: float
    used_gpu_s: float
    idle_core_s: float
    idle_gpu_s: float
    cost: float | None
    idle_cost: float | None


def held(rows: AttemptRows) -> Held:
    """What the attempts of a run reserved."""
    time = rows.held()
    return Held(
        wall_s=sum(span.seconds for span in rows.spans()),
        core_s=time.core_s,
        gpu_s=time.gpu_s,
        attempts=len(rows.attempts),
        killed=sum(each.ended is None for each in rows.attempts),
    )


def cluster_use(rows: RunRows, reserved: Held, prices: Prices | None) -> ClusterUse:
    """What a whole run reserved against what the work of all rows took."""
    labeling, shadow = rows.whole_used.labeling, rows.whole_shadow
    used_core_s = rows.whole.decode_s + labeling.core_s + shadow.core_s
    used_gpu_s = labeling.gpu_s + shadow.gpu_s
    cost = idle = None
    if prices is not None:
        used = rows.whole_used
        time = DeviceTime(reserved.gpu_s, reserved.core_s)
        cost = prices.cluster(time, used.bytes_read, used.gets)
        idle = cost - prices.work(used).total - prices.device(shadow)
    return ClusterUse(
        used_core_s=used_core_s,
        used_gpu_s=used_gpu_s,
        idle_core_s=reserved.core_s - used_core_s,
        idle_gpu_s=reserved.gpu_s - used_gpu_s,
        cost=cost,
        idle_cost=idle,
    )


def per_video(rows: RunRows, prices: Prices | None) -> npt.NDArray[np.float64]:
    """(videos,) what each shared video cost: money, or without prices the GPU-seconds and
    core-seconds, one added to the other.
    """
    used = rows.per_video
    if prices is None:
        return used.labeling.gpu_s + used.labeling.core_s + used.decode_s
    return prices.work(used).total
