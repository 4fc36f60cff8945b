"""The lease of a run: only one command at a time works on an OUTPUT.

A lease is a file with a generation number, `_lease/00000007.json`, which its holder rewrites every
few seconds. A new generation is created by a conditional write, which only one command can win, so
that of two commands that find a dead holder only one takes over. A holder that was suspended or
disconnected finds the newer generation when it continues, and stops. Clocks of machines are not
compared: a holder is dead once its file has not changed for some time on the watcher's clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.storage.location import Location

_FOLDER = "_lease"


@dataclass(frozen=True)
class LeaseTimes:
    """Timing of a lease.

    Attributes:
        beat_s: seconds between two heartbeats.
        dead_s: seconds without a heartbeat after which a holder is dead.
    """

    beat_s: float = 10.0
    dead_s: float = 45.0

    def __post_init__(self) -> None:
        if not 0 < 3 * self.beat_s <= self.dead_s:
            raise ValueError(
                f"dead_s must be at least three times beat_s, which is above 0; got "
                f"{self.dead_s:g} and {self.beat_s:g}"
            )


@dataclass(frozen=True)
class _Holder:
    """The process that holds a lease; `beat` counts its heartbeats."""

    token: str
    host: str
    boot: str
    pid: int
    beat: int = 0

    @classmethod
    def this_process(cls) -> _Holder:
        return cls(uuid.uuid4().hex, socket.gethostname(), _boot(), os.getpid())

    def is_surely_dead(self) -> bool:
        """Whether it was a process of this machine that no longer exists."""
        if (self.host, self.boot) != (socket.gethostname(), _boot()):
            return False
        return self.pid != os.getpid() and not Path(f"/proc/{self.pid}").exists()


@contextmanager
def held(
    root: Location,
    *,
    lost: Callable[[], None],
    say: Callable[[str], None],
    times: LeaseTimes = LeaseTimes(),
) -> Iterator[None]:
    """Holds the lease of the run in `root` while the block runs.

    Args:
        root: folder of the run; must be writable.
        lost: called once, from another thread, when another command took over the lease.
        say: called with a line for the user before waiting.
        times: timing of the heartbeats.

    Raises:
        UsageError: another command is working on the run.
    """
    folder = root.child(_FOLDER)
    me = _Holder.this_process()
    generation = _acquire(folder, me, say, times)
    file = _file(folder, generation)
    stop = threading.Event()

    def beat() -> None:
        count = 0
        while not stop.wait(times.beat_s):
            count += 1
            try:
                if not _is_mine(file, me) or _generations(folder)[-1:] != [generation]:
                    lost()
                    return
                file.write_bytes(_bytes(replace(me, beat=count)), make_folder=False)
            except OSError:
                continue  # storage fails, for others too; a newer generation is found later

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=times.dead_s)
        # A heartbeat that is still being written would create the file again after its deletion.
        # Then, and if the deletion fails, the file stays, and its holder counts as dead later.
        with contextlib.suppress(OSError):
            if not thread.is_alive() and _is_mine(file, me):
                file.delete()


def _acquire(folder: Location, me: _Holder, say: Callable[[str], None], times: LeaseTimes) -> int:
    while True:
        generations = _generations(folder)
        newest = generations[-1] if generations else 0
        if newest and not _is_dead(_file(folder, newest), say, times):
            continue  # its holder ended meanwhile
        if _file(folder, newest + 1).create(_bytes(me)):
            for old in generations:
                _file(folder, old).delete()
            return newest + 1


def _is_dead(file: Location, say: Callable[[str], None], times: LeaseTimes) -> bool:
    """Watches a holder: True if it gives no heartbeat, False if it released the lease.

    Raises:
        UsageError: the holder is alive.
    """
    first = _holder(file)
    if first is None:
        return False
    if first.is_surely_dead():
        return True
    say(
        f"Process {first.pid} on {first.host} was working on this OUTPUT; waiting up to "
        f"{times.dead_s:.0f} s for its heartbeat before taking over"
    )
    deadline = time.monotonic() + times.dead_s
    while time.monotonic() < deadline:
        time.sleep(times.beat_s / 2)
        now = _holder(file)
        if now is None:
            return False
        if now != first:
            raise UsageError(
                f"another command is working on this OUTPUT: process {now.pid} on {now.host}; wait "
                f"for it to end or stop it first"
            )
    return True


def _is_mine(file: Location, me: _Holder) -> bool:
    """Whether the file is this command's: numbers are used again after a lease is released."""
    holder = _holder(file)
    return holder is not None and holder.token == me.token


def _generations(folder: Location) -> list[int]:
    names = (file.name.removesuffix(".json") for file in folder.files(".json"))
    return sorted(int(name) for name in names if name.isdecimal())


def _file(folder: Location, generation: int) -> Location:
    return folder.child(f"{generation:08d}.json")


def _holder(file: Location) -> _Holder | None:
    """The holder in a lease file; None without a file; an unknown one if it is not readable."""
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        return _Holder(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return _Holder(token="", host="an unknown machine", boot="", pid=0)


def _bytes(holder: _Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _boot() -> str:
    """What process ids are unique in: this boot of the machine and the container's namespace."""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{machine} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex
