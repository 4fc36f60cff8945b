"""Machine-wide slots for the few videos that need much memory, such as 8K.

A slot is an address of Linux's abstract Unix sockets, which one process at a time can hold. The
kernel gives it back when its holder dies, and it leaves no file.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_POLL_SECONDS = 0.05
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class MemorySlots:
    """``count`` slots that all processes of this user share, on a machine or in a pod."""

    def __init__(self, count: int, name: str = "decode-memory") -> None:
        self._addresses = [f"\0{name}-{os.getuid()}-{number}" for number in range(count)]

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for a slot and holds it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
            while not any(_hold(holder, address) for address in self._addresses):
                time.sleep(_POLL_SECONDS)
            yield


@cache
def machine_memory() -> int:
    """Bytes of memory of the machine, or of the container where that has fewer."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(Path(path).read_text()))
    return min(found)


def _hold(holder: socket.socket, address: str) -> bool:
    try:
        holder.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True
