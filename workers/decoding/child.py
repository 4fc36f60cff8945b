"""The decoder's child process: reads units from stdin, writes frames to shared memory.

workers.decoding.process starts it as ``python -P -m workers.decoding.child SETTINGS``. It imports
neither torch nor ray. It does not outlive its parent: an idle child ends when the pipe closes, a
busy one at the latest when its own alarm (SIGALRM) or CPU limit (RLIMIT_CPU) ends it, which also
ends a hang in native code.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from workers.decoding import ipc
from workers.decoding.progress import DecodeWork, Progress
from workers.decoding.shared_memory import SharedFrames
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure, one_line
from workers.io.fetching import Source, is_object, open_source
from workers.sampling import Protocol

if TYPE_CHECKING:
    from workers.decoding.job import DecodeJob
    from workers.decoding.result import Decoded
    from workers.decoding.segments import SegmentDecoder

_GRACE = 1.5  # the parent kills at the limit; the child's own limits come later
_OPENCV_NO_MEMORY = -4


class _Opened:
    """A source during one unit; ``again``: open since an earlier one; ``in_part``: read in part."""

    def __init__(self, source: Source, *, again: bool, in_part: bool) -> None:
        self.source = source
        self._again = again
        self._counted_here = in_part and source.ranged is None
        self._before = _bytes_read_here() if self._counted_here else 0
        if source.ranged is not None and again:
            self._before = source.ranged.received
            source.ranged.retries.reset()

    def bytes_read(self) -> int:
        """Bytes that left the storage for this unit so far."""
        if self._counted_here:
            return _bytes_read_here() - self._before
        if self.source.ranged is None and self._again:
            return 0
        return self.source.bytes_read - self._before


class Worker:
    """Answers requests about units, one after the other; frames go to shared memory."""

    def __init__(
        self,
        decoder: str,
        protocol: Protocol,
        limits: DecodeLimits,
        memory_descriptor: int,
        replies: int,
    ) -> None:
        self._replies = replies
        self._progress = Progress(self._tell)
        self._decoder = _decoder(decoder)
        self._segments = _segment_decoder(protocol, limits, self._progress)
        self._uri = ""
        self._work = DecodeWork()
        self._protocol = protocol
        self._limits = limits
        self._shared = SharedFrames(memory_descriptor)
        self._kept = ExitStack()
        self._kept_source: tuple[tuple[object, ...], Source] | None = None

    def answer(self, kind: str, unit: Unit) -> ipc.Message:
        """The message for one unit.

        ``kind`` is "decode", answered with indices and times of the frames, or "measure", answered
        with the seconds of the video. The answer may be a failure instead.
        """
        self._uri = unit.uri
        self._arm(DecodeWork())
        began = time.process_time()
        in_part = kind == "measure" or self._protocol.every_s is not None
        opened = None
        try:
            opened = self._open(unit, in_part=in_part)
            self._progress.begin(size=opened.source.size)
            message = self._result(kind, opened.source, unit)
            if opened.source.failure is not None:
                raise opened.source.failure
            message["bytes_read"] = opened.bytes_read()
        except Exception as error:
            failure = _as_failure(error)
            if opened is not None and opened.source.failure is not None:
                failure = opened.source.failure  # what was decoded ended where fetching did
                self._let_go()
            bytes_read = failure.bytes_read if opened is None else opened.bytes_read()
            message = {
                "failure": {"type": failure.error_type, "message": failure.message},
                "bytes_read": bytes_read,
            }
        finally:
            if kind == "decode" and unit.start_s is None and unit.end_s is None:
                self._let_go()
            signal.alarm(0)
        return message | {
            "etag": None if opened is None else opened.source.etag,
            "decode_ms": (time.process_time() - began) * 1000,
            "rss_bytes": _resident_bytes(),
        }

    def _result(self, kind: str, source: Source, unit: Unit) -> ipc.Message:
        if kind == "measure":
            return {"measured": self._segments.measure(source)}
        if self._protocol.every_s is not None:
            return {"decoded": self._segments.decode(source, unit, self._shared.allocate).report()}
        from workers.decoding.job import DecodeJob

        job = DecodeJob(
            source, unit, self._protocol, self._limits, self._shared.allocate, self._progress
        )
        return {"decoded": self._decoder(job).report()}

    def _open(self, unit: Unit, *, in_part: bool) -> _Opened:
        """The unit's source.

        The source of a segment stays open: the next unit is mostly another segment of the same
        recording, which must not be fetched once for each of them.
        """
        key = unit.uri, unit.etag, in_part
        if self._kept_source is not None and self._kept_source[0] == key:
            return _Opened(self._kept_source[1], again=True, in_part=in_part)
        if self._kept_source is not None:
            self._let_go()
        self._kept.close()
        source = self._kept.enter_context(
            open_source(
                unit.uri,
                max_bytes=1 << 62 if in_part else self._limits.source_bytes,
                etag=unit.etag,
                seconds=self._limits.fetch_seconds,
                ranged=in_part,
            )
        )
        if is_object(unit.uri):
            self._kept_source = key, source
        return _Opened(source, again=False, in_part=in_part)

    def _let_go(self) -> None:
        self._kept_source = None
        self._segments.close()
        self._kept.close()

    def _tell(self, work: DecodeWork) -> None:
        """Reports work to the parent, and adjusts this process's own limits."""
        if work != self._work:
            self._arm(work)
        ipc.send(self._replies, {"work": asdict(work)})

    def _arm(self, work: DecodeWork) -> None:
        self._work = work
        signal.alarm(math.ceil(self._limits.attempt_seconds(self._uri, work) * _GRACE) + 5)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = usage.ru_utime + usage.ru_stime
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = math.ceil(spent + self._limits.attempt_seconds("", work) * 2 * _GRACE) + 5
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _decoder(name: str) -> Callable[[DecodeJob], Decoded]:
    """The `decode` of a decoder; its module is imported here so that `main` reports a failure."""
    if name == "decord":
        from workers.decoding import decord

        decord.require()
        return decord.decode
    from workers.decoding import pyav

    return pyav.decode


def _segment_decoder(
    protocol: Protocol, limits: DecodeLimits, progress: Progress
) -> SegmentDecoder:
    from workers.decoding.segments import SegmentDecoder

    return SegmentDecoder(protocol, limits, progress=progress)


def _bytes_read_here() -> int:
    """What this process has read from files so far; 0 where the system does not count it."""
    try:
        with open("/proc/self/io") as file:
            return int(file.readline().removeprefix("rchar:"))
    except (OSError, ValueError):
        return 0


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
    """Limits the address space to ``extra`` bytes beyond what the idle process has mapped."""
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
    """Answers requests until stdin ends."""
    settings = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = settings["replies"]
    limits = DecodeLimits(**settings["limits"])
    try:
        protocol = Protocol(**settings["protocol"])
        worker = Worker(settings["decoder"], protocol, limits, settings["memory"], replies)
    except ImportError as error:
        ipc.send(replies, {"error": one_line(str(error))})
        return
    _limit_memory(limits.memory_bytes)
    ipc.send(replies, {"ready": True})
    while True:
        try:
            request = ipc.receive(sys.stdin.fileno())
        except EOFError:
            return
        ipc.send(replies, worker.answer(request["kind"], Unit(**request["unit"])))


if __name__ == "__main__":
    main()
