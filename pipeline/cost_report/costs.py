"""From what was used to money: what the work took, and what was paid for. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.cost_report.shared import Rows, Work
from pipeline.cost_report.starts import Held, Labellers
from pipeline.prices import Prices


@dataclass(frozen=True)
class Bill:
    """Money for the work of some rows, line by line.

    Attributes:
        device: labelling.
        decode: fetching and decoding.
        reading: bytes and requests.
        shadow: labelling the shadow sample, beside `device`.
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
        used_core_s: core-seconds of decoding, and of labelling on CPUs.
        used_gpu_s: GPU-seconds of labelling.
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


def device_second(prices: Prices, labellers: Labellers) -> float:
    """Money for a second of device time."""
    return labellers.gpus * gpu_alone_second(prices) + labellers.cpus * prices.core_second


def gpu_alone_second(prices: Prices) -> float:
    """Money for a second of a GPU without the cores that come with it, which are charged apart."""
    return prices.gpu_second - prices.gpu_cores * prices.core_second


def bill(work: Work, prices: Prices, labellers: Labellers) -> Bill:
    """Money for the work of some rows."""
    second = device_second(prices, labellers)
    return Bill(
        device=work.device_s * second,
        decode=work.decode_s * prices.core_second,
        reading=reading(prices, work.bytes_read, work.gets),
        shadow=work.shadow_device_s * second,
    )


def reading(prices: Prices, bytes_read: float, gets: float) -> float:
    """Money for bytes and requests."""
    return bytes_read / 1e9 * prices.read_gb + gets / 1000 * prices.get_1000


def held_money(prices: Prices, gpu_s: float, core_s: float) -> float:
    """Money for GPUs and cores that were held; at least the cores that come with the GPUs."""
    cores = max(core_s, gpu_s * prices.gpu_cores)
    return gpu_s * gpu_alone_second(prices) + cores * prices.core_second


def paid(whole: Work, held: Held, labellers: Labellers, prices: Prices | None) -> Paid:
    """What was held against what the work of all rows took."""
    device_s = whole.device_s + whole.shadow_device_s
    used_core_s = whole.decode_s + device_s * labellers.cpus
    used_gpu_s = device_s * labellers.gpus
    money = idle = None
    if prices is not None:
        took = bill(whole, prices, labellers)
        money = held_money(prices, held.gpu_s, held.core_s)
        money += reading(prices, whole.bytes_read, whole.gets)
        idle = money - took.total - took.shadow
    return Paid(
        used_core_s=used_core_s,
        used_gpu_s=used_gpu_s,
        idle_core_s=held.core_s - used_core_s,
        idle_gpu_s=held.gpu_s - used_gpu_s,
        money=money,
        idle_money=idle,
    )


def per_video(rows: Rows, prices: Prices | None, labellers: Labellers) -> npt.NDArray[np.float64]:
    """(videos,) what each shared video cost: money, or without prices seconds of device and cores.

    Without prices it is decoding's core-seconds and device time, one added to the other.
    """
    if prices is None:
        return np.asarray((rows.device_ns + rows.decode_ns) / 1e9)
    device = rows.device_ns / 1e9 * device_second(prices, labellers)
    decode = rows.decode_ns / 1e9 * prices.core_second
    bytes_read = rows.bytes_read / 1e9 * prices.read_gb
    return np.asarray(device + decode + bytes_read + rows.gets / 1000 * prices.get_1000)
