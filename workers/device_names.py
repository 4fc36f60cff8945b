"""Names of devices, for code that does not load torch."""

from __future__ import annotations

from typing import Literal

from workers.machine import cpu_model

DeviceKind = Literal["cpu", "cuda"]

_CPU = "cpu: "


def cpu_name(threads: int) -> str:
    """Name of this machine's CPU as a labeler's device, with the number of threads."""
    return f"{_CPU}{threads} thread{'s' * (threads > 1)} of {cpu_model()}"


def is_cpu_name(name: str) -> bool:
    """Whether `cpu_name` made this name."""
    return name.startswith(_CPU)
