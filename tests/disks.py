"""A disk of a few megabytes that tests fill, and make read-only; needs root on Linux."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A mounted disk.

    Attributes:
        folder: where it is mounted.
    """

    folder: Path

    def fill(self) -> Path:
        """Takes all that is free with one file, which is returned."""
        file = self.folder / "filler"
        with file.open("wb", buffering=0) as taken:
            try:
                while True:
                    taken.write(bytes(1 << 12))
            except OSError:
                return file

    def set_writable(self, writable: bool) -> None:
        """Mounts it anew; waits for files that are being written."""
        mode = "remount,rw" if writable else "remount,ro"
        for _ in range(2000):
            if not _mount("-o", mode, str(self.folder)):
                return
            time.sleep(0.01)
        raise AssertionError(f"{self.folder} could not be mounted as {mode}")


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk]:
    """Mounts an empty disk at a folder; skips the test where that is not allowed."""
    folder.mkdir()
    size = f"size={megabytes}m"
    if os.geteuid() or _mount("-t", "tmpfs", "-o", size, "tmpfs", str(folder)):
        pytest.skip("mounting a small disk needs root")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> int:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    return done.returncode
