"""Seconds that work takes on a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


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
