"""CPU time of a tree of processes, and idle time of the cores, sampled over time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UsageError

_PROC = Path("/proc")
_EVERY_S = 1.0


def process_cpu_s(pid: int) -> float:
    """CPU seconds of one process so far, all its threads; to the nanosecond."""
    # Linux numbers a process's CPU clock by its id: see clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)


def idle_s() -> float:
    """Seconds that the machine's cores were idle so far, summed over them."""
    idle, waiting = (_PROC / "stat").read_text().split(maxsplit=6)[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")


class CpuRecord:
    """CPU seconds of a tree of processes, sampled over time; the dead keep what they had used."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}
        self._times: list[float] = []
        self._sums: list[tuple[float, float, float]] = []

    def sample(self) -> None:
        """Takes one sample, now."""
        for pid in _tree(os.getpid()):
            with contextlib.suppress(OSError):
                self._used[pid] = process_cpu_s(pid)
        self._times.append(time.time())
        own = self._used.get(os.getpid(), 0.0)
        self._sums.append((sum(self._used.values()), idle_s(), own))

    def between(self, began: float, ended: float) -> tuple[float, float, float]:
        """(CPU seconds used, seconds that cores were idle, CPU seconds of this process alone) from
        `began` to `ended` (`time.time`), to about a sample's distance.
        """
        used, idle, own = (b - a for a, b in zip(self._at(began), self._at(ended), strict=True))
        return used, idle, own

    def _at(self, moment: float) -> tuple[float, float, float]:
        after = bisect_right(self._times, moment)
        if after == 0:
            return self._sums[0]
        if after == len(self._times):
            return self._sums[-1]
        before, then = self._times[after - 1 : after + 1]
        share = (moment - before) / (then - before)
        one, other = self._sums[after - 1 : after + 1]
        used, idle, own = (a + share * (b - a) for a, b in zip(one, other, strict=True))
        return used, idle, own


@contextmanager
def cpu_recorded() -> Iterator[CpuRecord]:
    """Samples for as long as the block runs, from a thread of its own.

    Raises:
        UsageError: the system does not tell the CPU times of processes in /proc.
    """
    if not _PROC.joinpath("stat").exists():
        raise UsageError(
            "benchmark.py pipeline reads CPU times of processes in /proc, which Linux alone has; "
            "run it on Linux"
        )
    record, stop = CpuRecord(), threading.Event()

    def watch() -> None:
        while not stop.wait(_EVERY_S):
            record.sample()

    record.sample()
    thread = threading.Thread(target=watch, name="cpu", daemon=True)
    thread.start()
    try:
        yield record
    finally:
        stop.set()
        thread.join()
        record.sample()


def _tree(root: int) -> list[int]:
    """`root` and every process below it."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name in brackets may hold anything.
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found
