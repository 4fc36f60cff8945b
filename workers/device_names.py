"""Names of devices, for code that does not load torch."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal

DeviceKind = Literal["cpu", "cuda"]

_CPU = "cpu: "


def cpu_name(threads: int) -> str:
    """Name of this machine's CPU as a labeler's device, with the number of threads."""
    return f"{_CPU}{threads} thread{'s' * (threads > 1)} of {cpu_model()}"


def is_cpu_name(name: str) -> bool:
    """Whether `cpu_name` made this name."""
    return name.startswith(_CPU)


def cpu_model() -> str:
    """Name of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
