"""What this machine has: cores, memory and processor, on Linux and macOS."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

# Names of instructions that multiply bfloat16, of x86 (AVX-512 and AMX) and of Arm.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_cores() -> int:
    """Number of cores that this process may use; on systems without affinity, all cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def machine_memory() -> int:
    """Bytes of memory of the machine, or of the container where that has fewer."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(Path(path).read_text()))
    return min(found)


def available_memory() -> int:
    """Bytes of memory that programs can still get; half of the machine's where /proc is missing."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return machine_memory() // 2
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def cpu_model() -> str:
    """Name of the processor; only its architecture where the system does not tell more."""
    named = _cpuinfo("model name")
    return named[0] if named else platform.machine()


def has_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16; False where /proc is
    missing.
    """
    flags = _cpuinfo("flags") or _cpuinfo("Features")  # on x86, on Arm
    return bool(flags) and not _BFLOAT16.isdisjoint(flags[0].split())


def _cpuinfo(field: str) -> list[str]:
    """A field of /proc/cpuinfo, for each core; empty where the system does not tell it."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return []
    parts = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in parts if name.strip() == field]
