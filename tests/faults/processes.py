"""Processes of a job, found by descent, so that nothing of anybody else is ever touched."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

# How each kind shows in its command line; Ray names its actors' processes after the graph's steps.
KINDS = {
    "child": "workers.decoding.child",
    "decoder": "DecodeActor",
    "labeller": "LabelActor",
}


def descendants(root: int) -> dict[int, str]:
    """Command lines of all living processes below `root`, by process id."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = _parent(entry)
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for pid in (pid for pid, its in parents.items() if its == parent):
            waiting.append(pid)
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                found[pid] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def of_kind(root: int, kind: str) -> list[int]:
    """Process ids below `root` of a kind of KINDS, sorted."""
    return sorted(pid for pid, line in descendants(root).items() if KINDS[kind] in line)


def kill(pid: int) -> bool:
    """SIGKILL; False if it was gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _parent(entry: Path) -> int:
    """From /proc/PID/stat, where the name in brackets may hold anything."""
    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
