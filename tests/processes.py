"""Looking at processes through /proc: who still runs, what they hold, how much memory they use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def processes_with(name: str, value: str) -> list[int]:
    """Ids of all running processes that were started with an environment of ``name=value``.

    Children inherit it, and an orphan keeps it whoever adopts it.
    """
    wanted = f"{name}={value}".encode()
    found = []
    for folder in PROC.iterdir():
        if (
            folder.name.isdigit()
            and wanted in _environment(folder)
            and is_running(int(folder.name))
        ):
            found.append(int(folder.name))
    return found


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another's
        return []


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped."""
    try:
        return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition: Callable[[], bool], *, seconds: float = 300.0) -> bool:
    """Whether ``condition`` comes true before ``seconds`` are over: a bound for what never ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def wait_while_running(driver: subprocess.Popen[Any], until: Callable[[], bool]) -> None:
    """Returns when ``until`` comes true; fails where the job ends before, or it never does."""
    assert eventually(lambda: until() or driver.poll() is not None), "it never got as far"
    assert driver.poll() is None, f"it ended with {driver.returncode} before it was as far"


def descriptors() -> list[str]:
    """What the descriptors of this process lead to, but for the one that lists them."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return sorted(found)


def opened_since(before: list[str]) -> list[str]:
    """Descriptors of now that :func:`descriptors` did not give before.

    Python may close at any time what earlier tests left open; that is no concern of the caller.
    """
    return sorted((Counter(descriptors()) - Counter(before)).elements())


def private_bytes(pid: int) -> int:
    """Memory that only this process uses: what ending it would give back."""
    total = 0
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def processes_reading(path: Path, *, command: str) -> list[int]:
    """Ids of the processes that hold ``path`` open and have ``command`` in their command line."""
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if command.encode() not in (folder / "cmdline").read_bytes():
                continue
            held = [os.readlink(entry) for entry in (folder / "fd").iterdir()]
        except OSError:  # it has ended, or is another's
            continue
        if str(path) in held:
            found.append(int(folder.name))
    return found


@contextmanager
def killing(find: Callable[[], list[int]], pauses: Iterator[float]) -> Iterator[list[int]]:
    """SIGKILL, from a thread, to whatever ``find`` finds; yields the ids of the killed.

    ``pauses``: seconds to wait before each look.
    """
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        for pause in pauses:
            if over.wait(pause):
                return
            for pid in find():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def descendants(root: int) -> dict[int, str]:
    """Command lines of all processes below ``root``, by process id."""
    parents: dict[int, int] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(folder.name)] = _parent(folder)
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for pid in (pid for pid, its in parents.items() if its == parent):
            waiting.append(pid)
            with contextlib.suppress(OSError):
                line = (PROC / str(pid) / "cmdline").read_bytes()
                found[pid] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def decoders(root: int | None = None) -> list[int]:
    """Ids of the decoders' child processes that run below ``root``, this process by default."""
    found = descendants(os.getpid() if root is None else root)
    return [
        pid for pid, line in found.items() if "workers.decoding.child" in line and is_running(pid)
    ]


def _parent(folder: Path) -> int:
    """From /proc/PID/stat, where the name in brackets may hold anything."""
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])


def kill(pid: int) -> bool:
    """SIGKILL; False if it was gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
