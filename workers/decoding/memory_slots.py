"""Machine-wide slots for the few videos that need much memory, such as 8K.

On Linux a slot is an address of abstract Unix sockets, which one process at a time can hold.
Elsewhere it is a locked file in the temporary folder. The kernel gives both back when the holder
dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

_POLL_SECONDS = 0.05


class MemorySlots:
    """``count`` slots that all processes of this user share, on a machine or in a pod."""

    def __init__(self, count: int, name: str = "decode-memory") -> None:
        self._names = [f"{name}-{os.getuid()}-{number}" for number in range(count)]

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for a slot and holds it."""
        hold = _held_address if platform.system() == "Linux" else _held_file
        while (held := next(filter(None, map(hold, self._names)), None)) is None:
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            os.close(held)


def _held_address(name: str) -> int | None:
    """Descriptor that holds the slot; None where another process does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        try:
            holder.bind(f"\0{name}")
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return holder.detach()


def _held_file(name: str) -> int | None:
    """Descriptor that holds the slot; None where another process does."""
    path = os.path.join(tempfile.gettempdir(), f"{name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor
