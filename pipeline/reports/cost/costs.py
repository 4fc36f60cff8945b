"""From what was used to money: what the work took, and what was paid for. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.prices import Prices
from pipeline.reports.cost.attempts import Held, Labelers
from pipeline.reports.cost.shared import Rows, Work


@dataclass(frozen=True)
class Bill:
    """Money for the work of some rows, line by line.

    Attributes:
        device: labeling.
        decode: fetching and decoding.
        reading: bytes and requests.
        shadow: labeling the shadow sample, beside `device`.
    """

    device: float
    decode: float
    reading: float
    shadow: float

    @property
    def total(self) -> float:
        """Without the shadow sample."""
        return self.device + self.decode + self.reading


@dataclass(frozen=True)
class Paid:
    """What a run held, against what its work took, shadow sample and failed videos included.

    Attributes:
        used_core_s: core-seconds of decoding, and of labeling on CPUs.
        used_gpu_s: GPU-seconds of labeling.
        idle_core_s: the rest of the cores held; below 0 where processes shared cores.
        idle_gpu_s: the rest of the GPUs held.
        money: what was held, and reading; None without prices.
        idle_money: what of that the work did not take; None without prices.
    """

    used_core_s: float
    used_gpu_s: float
    idle_core_s: float
    idle_gpu_s: float
    money: float | None
    idle_money: float | None


def bill(work: Work, prices: Prices, labelers: Labelers) -> Bill:
    """Money for the work of some rows."""
    second = prices.device_second(gpus=labelers.gpus, cores=labelers.cpus)
    return Bill(
        device=work.device_s * second,
        decode=work.decode_s * prices.core_second,
        reading=prices.reading(work.bytes_read, work.gets),
        shadow=work.unpruned_device_s * second,
    )


def paid(whole: Work, held: Held, labelers: Labelers, prices: Prices | None) -> Paid:
    """What was held against what the work of all rows took."""
    device_s = whole.device_s + whole.unpruned_device_s
    used_core_s = whole.decode_s + device_s * labelers.cpus
    used_gpu_s = device_s * labelers.gpus
    money = idle = None
    if prices is not None:
        took = bill(whole, prices, labelers)
        money = prices.held(held.gpu_s, held.core_s)
        money += prices.reading(whole.bytes_read, whole.gets)
        idle = money - took.total - took.shadow
    return Paid(
        used_core_s=used_core_s,
        used_gpu_s=used_gpu_s,
        idle_core_s=held.core_s - used_core_s,
        idle_gpu_s=held.gpu_s - used_gpu_s,
        money=money,
        idle_money=idle,
    )


def per_video(rows: Rows, prices: Prices | None, labelers: Labelers) -> npt.NDArray[np.float64]:
    """(videos,) what each shared video cost: money, or without prices seconds of device and cores.

    Without prices it is decoding's core-seconds and device time, one added to the other.
    """
    if prices is None:
        return np.asarray((rows.device_ns + rows.decode_ns) / 1e9)
    second = prices.device_second(gpus=labelers.gpus, cores=labelers.cpus)
    device = rows.device_ns / 1e9 * second
    decode = rows.decode_ns / 1e9 * prices.core_second
    bytes_read = rows.bytes_read / 1e9 * prices.read_gb
    return np.asarray(device + decode + bytes_read + rows.gets / 1000 * prices.get_1000)
