"""The decoder's child process: reads units from stdin, leaves frames in shared memory.

Started as ``python -P -m workers.decoding.child SETTINGS`` by workers.decoding.process. It imports
neither torch nor ray. It outlives nobody: an idle child ends with its parent's end of the pipe, a
busy one at the latest when its alarm rings, which ends even a hang in native code.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import resource
import signal
import sys
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from workers.decoding import wire
from workers.decoding.units import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure, one_line
from workers.fetching import Source, is_object, open_source
from workers.sampling import Protocol

_GRACE = 1.5  # the parent kills at the limit; the child's own guards come later
_OPENCV_NO_MEMORY = -4


class Worker:
    """Decodes units one after the other into the shared memory behind a descriptor."""

    def __init__(
        self, decoder: str, protocol: Protocol, limits: DecodeLimits, memory_descriptor: int
    ) -> None:
        if decoder == "decord":
            from workers.decoding import decord

            decord.require()
            self._decode = decord.decode
        else:
            from workers.decoding import pyav

            self._decode = pyav.decode
        self._protocol = protocol
        self._limits = limits
        self._memory = memory_descriptor
        self._kept = ExitStack()
        self._kept_source: tuple[tuple[str, str | None], Source] | None = None

    def answer(self, unit: Unit) -> wire.Message:
        """The message for one unit: its frames' places and times, or the failure."""
        self._arm(unit)
        began = time.process_time()
        bytes_read, etag = 0, None
        try:
            source, bytes_read = self._open(unit)
            etag = source.etag
            decoded = self._decode(source, unit, self._protocol, self._limits, self._allocate)
            message = {"decoded": decoded.report()}
        except Exception as error:
            failure = _as_failure(error)
            bytes_read = max(bytes_read, failure.bytes_read)
            message = {"failure": {"type": failure.error_type, "message": failure.message}}
        finally:
            if unit.start_s is None and unit.end_s is None:
                self._let_go()
            signal.alarm(0)
        return message | {
            "bytes_read": bytes_read,
            "etag": etag,
            "decode_ms": (time.process_time() - began) * 1000,
            "rss_bytes": _resident_bytes(),
        }

    def _open(self, unit: Unit) -> tuple[Source, int]:
        """(the unit's source, the bytes read for it).

        The source of a stretch stays open: the next unit is mostly another stretch of the same
        recording, which must not be fetched once for each of them.
        """
        if self._kept_source is not None and self._kept_source[0] == (unit.uri, unit.etag):
            return self._kept_source[1], 0
        self._let_go()
        source = self._kept.enter_context(
            open_source(
                unit.uri,
                max_bytes=self._limits.source_bytes,
                etag=unit.etag,
                seconds=self._limits.fetch_seconds,
            )
        )
        if is_object(unit.uri):
            self._kept_source = (unit.uri, unit.etag), source
        return source, source.bytes_read

    def _let_go(self) -> None:
        self._kept_source = None
        self._kept.close()

    def _allocate(self, shape: tuple[int, int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        count = math.prod(shape)
        if os.fstat(self._memory).st_size < count:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error now, not a SIGBUS later
                os.posix_fallocate(self._memory, 0, count)
            else:
                os.ftruncate(self._memory, count)
        room = mmap.mmap(self._memory, count)
        return np.frombuffer(room, dtype=np.uint8).reshape(shape)

    def _arm(self, unit: Unit) -> None:
        signal.alarm(math.ceil(self._limits.attempt_seconds(unit.uri) * _GRACE) + 5)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = usage.ru_utime + usage.ru_stime
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = math.ceil(spent + self._limits.seconds * 2 * _GRACE) + 5
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _as_failure(error: Exception) -> UnitFailure:
    if isinstance(error, UnitFailure):
        return error
    if isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_NO_MEMORY:
        return UnitFailure(ErrorType.out_of_memory, "decoding needed more memory than the limit")
    words = getattr(error, "strerror", None) or str(error)
    return UnitFailure(ErrorType.internal, f"{type(error).__name__}: {words}")


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _limit_memory(extra: int) -> None:
    """Let the address space grow by ``extra`` bytes from what the idle process has mapped."""
    try:
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # without /proc (macOS) the kernel does not enforce the limit either
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = mapped + extra
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Serve until stdin ends."""
    settings = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = settings["replies"]
    limits = DecodeLimits(**settings["limits"])
    try:
        protocol = Protocol(**settings["protocol"])
        worker = Worker(settings["decoder"], protocol, limits, settings["memory"])
    except ImportError as error:
        wire.send(replies, {"error": one_line(str(error))})
        return
    _limit_memory(limits.memory_bytes)
    wire.send(replies, {"ready": True})
    while True:
        try:
            request = wire.receive(sys.stdin.fileno())
        except EOFError:
            return
        wire.send(replies, worker.answer(Unit(**request["unit"])))


if __name__ == "__main__":
    main()
