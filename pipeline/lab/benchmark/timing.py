"""Seconds of work on a device, and the device's peak rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

# Dense TFLOP/s of bfloat16 by the makers' data sheets, two FLOPs per multiply-accumulate.
_NOMINAL_BF16 = {
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
}
_SIDE = {"cuda": 8192, "cpu": 1024}


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Seconds of `work`: between two events on a GPU's stream, of the wall clock on a CPU."""
    if device != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    torch.cuda.synchronize()
    event: Any = torch.cuda.Event  # without types
    began_at, ended_at = event(enable_timing=True), event(enable_timing=True)
    began_at.record()
    work()
    ended_at.record()
    torch.cuda.synchronize()
    return float(began_at.elapsed_time(ended_at)) / 1e3


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Multiply-accumulates per second of a large square matrix product, the best of five."""
    side = _SIDE[device]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = [seconds_of(lambda: a @ b, device) for _ in range(6)][1:]
    return float(side**3 / min(seconds))


def nominal_rate(device: str, dtype: torch.dtype) -> float | None:
    """Multiply-accumulates per second that the maker names; None where that is not known."""
    if device != "cuda" or dtype is not torch.bfloat16:
        return None
    name = torch.cuda.get_device_name()
    tflops = next((rate for part, rate in _NOMINAL_BF16.items() if part in name), None)
    return None if tflops is None else tflops * 1e12 / 2
