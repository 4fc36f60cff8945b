"""Counting how often each file of a folder is opened, by whomever: Linux's inotify."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections import Counter
from pathlib import Path

_IN_OPEN = 0x20
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")


class Opens:
    """Counts opens of the files of one folder from now on; ``close`` it, or use it as a context."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
        self._stopping = os.pipe()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def take(self) -> Counter[str]:
        """The counts since the last ``take``, by file name."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts

    def close(self) -> None:
        """Stop counting."""
        os.write(self._stopping[1], b"x")
        self._thread.join()
        for descriptor in (self._descriptor, *self._stopping):
            os.close(descriptor)

    def __enter__(self) -> Opens:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._descriptor, self._stopping[0]], [], [])
            if self._stopping[0] in ready:
                return
            data, at = os.read(self._descriptor, 1 << 16), 0
            while at < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                at += _EVENT.size + length
                if mask & _IN_Q_OVERFLOW:
                    raise RuntimeError("opens came faster than they could be counted")
                with self._lock:
                    self._counts[os.fsdecode(name)] += 1
