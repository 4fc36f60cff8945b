"""The largest memory that this process had."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> float:
    """Resident memory at its peak, MiB; not getrusage's figure, which begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
