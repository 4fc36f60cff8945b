"""Machine-wide slots for the few videos that need much memory, such as 8K.

The slots are locks on files, which the kernel gives back when their holder dies.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.05


class MemorySlots:
    """``count`` slots that all processes of this user on the machine share."""

    def __init__(self, count: int, folder: Path | None = None) -> None:
        name = f"decode-memory-slots-{os.getuid()}"
        self._folder = folder or Path(tempfile.gettempdir()) / name
        self._count = count

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for a slot and holds it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = self._first_free()
        try:
            yield
        finally:
            os.close(descriptor)

    def _first_free(self) -> int:
        while True:
            for number in range(self._count):
                path = self._folder / str(number)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return descriptor
                except BlockingIOError:
                    os.close(descriptor)
            time.sleep(_POLL_SECONDS)
