"""The decoder's child process: takes videos from its parent, writes frames to shared memory.

workers.decoding.process starts it as ``python -P -m workers.decoding.child SETTINGS``. It imports
neither torch nor ray. Once its libraries are loaded, it gives up every right that decoding does not
need (`restrictions`): it opens no file, and reads only what its parent hands to it. It does not
outlive its parent. Should the parent hang, its own alarm (SIGALRM) and CPU limit (RLIMIT_CPU) end
it, also in native code.
"""

from __future__ import annotations

import errno
import importlib
import json
import math
import os
import pkgutil
import resource
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import av

from workers.decoding import ipc
from workers.decoding.progress import DecodeWork, Progress
from workers.decoding.replies import LONGEST_READ
from workers.decoding.restrictions import die_with_parent, restrict, restrict_with_gpu
from workers.decoding.shared_memory import SharedFrames
from workers.decoding.types import NVDEC, OPENCV_NO_MEMORY, DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure, one_line
from workers.io.content import Content, FileContent, Source
from workers.io.frame_table import FrameTable
from workers.sampling import Protocol

if TYPE_CHECKING:
    from workers.decoding.result import Decoded

_GRACE = 1.5  # the parent kills at the limit; the child's own limits come later
_STDERR_BYTES = 4 << 20
_KEPT_BLOCKS = 8


class ParentContent:
    """A `Content` whose bytes the parent fetches.

    It asks for blocks and keeps the last few, since each question costs a switch of processes, and
    a file is read at several places in turn, such as video and audio.
    """

    failure: UnitFailure | None = None
    is_remote = False  # the parent asks the storage, and counts

    def __init__(self, channel: ipc.Channel, size: int) -> None:
        self.size = size
        self.received = 0
        self._channel = channel
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def begin_unit(self) -> None:
        """As in Content."""

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content; a failure stays with the parent, and reads as the end."""
        if offset >= self.size or count < 1:
            return b""
        number, start = divmod(offset, LONGEST_READ)
        block = self._blocks.pop(number, None) or self._asked(number * LONGEST_READ)
        if block:
            self._blocks[number] = block
        if len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block[start : start + count]

    def _asked(self, offset: int) -> bytes:
        """A whole block, fewer bytes only at the end, none after a failure."""
        count, block = min(LONGEST_READ, self.size - offset), b""
        while len(block) < count:
            wanted = {"offset": offset + len(block), "count": count - len(block)}
            piece = _asked_of_parent(self._channel, {"read": wanted}).get("data", b"")
            if not piece:
                return b""
            block += piece
        return block


class Worker:
    """Answers requests about units, one after the other; frames go to shared memory."""

    def __init__(
        self,
        decoder: str,
        protocol: Protocol,
        limits: DecodeLimits,
        memory_descriptor: int,
        channel: ipc.Channel,
        *,
        mode: str,
    ) -> None:
        from workers.decoding import images
        from workers.decoding.job import DecodeJob
        from workers.decoding.segments import SegmentDecoder

        self._images = images.decode
        self._channel = channel
        self._progress = Progress(self._tell, self._reserve)
        self._decoder = _decoder(decoder)
        self._segments = SegmentDecoder(protocol, limits, progress=self._progress, mode=mode)
        self._job_class = DecodeJob
        self._work = DecodeWork()
        self._large = False
        self._protocol = protocol
        self._limits = limits
        self._mode = mode
        self._shared = SharedFrames(memory_descriptor)
        self._source: Source | None = None

    def answer(self, request: ipc.Message) -> ipc.Message:
        """The message for one unit.

        The kind "decode" is answered with indices and times of the frames, "measure" with the
        seconds of the video. The answer may be a failure instead.
        """
        began = time.process_time()
        self._large, self._work = False, DecodeWork()
        source = self._opened(request)
        before = source.content.received
        self._progress.begin(size=source.size)
        try:
            message = self._result(request, source, _unit(request))
        except Exception as error:
            failure = _as_failure(error)
            message = {"failure": {"type": failure.error_type, "message": failure.message}}
        finally:
            signal.alarm(0)
            if not request["keep"]:
                self._let_go()
        return message | {
            "bytes_read": source.content.received - before,
            "decode_ms": (time.process_time() - began) * 1000,
        }

    def _result(self, request: ipc.Message, source: Source, unit: Unit) -> ipc.Message:
        if request["kind"] == "measure":
            return {"measured": self._segments.measure(source)}
        table = request["frames"]
        if self._protocol.every_s is not None and table is None:
            return {"decoded": self._segments.decode(source, unit, self._shared.allocate).report()}
        job = self._job_class(
            source,
            unit,
            self._protocol,
            self._limits,
            self._shared.allocate,
            self._progress,
            self._mode,
        )
        if table is not None:
            return {"decoded": self._images(job, FrameTable(**table)).report()}
        return {"decoded": self._decoder(job).report()}

    def _opened(self, request: ipc.Message) -> Source:
        """The video of a request: the one before, or another, whose descriptor came with it."""
        if request["again"] and self._source is not None:
            return self._source
        self._let_go()
        content: Content
        if "file" in request:
            content = FileContent(request["file"], request["size"])
        else:
            content = ParentContent(self._channel, request["size"])
        self._source = Source(content)
        return self._source

    def _let_go(self) -> None:
        source, self._source = self._source, None
        self._segments.close()
        if source is not None and isinstance(source.content, FileContent):
            os.close(source.content.descriptor)

    def _tell(self, work: DecodeWork) -> None:
        """Reports work to the parent, and adjusts this process's own limits."""
        if work != self._work:
            self._arm(work)
        self._channel.send({"work": {"frames": work.frames, "pixels": work.pixels}})

    def _reserve(self, count: int) -> None:
        """Waits until the parent has raised the memory limit, if ``count`` bytes need that."""
        if count > self._limits.small_memory_bytes and not self._large:
            _asked_of_parent(self._channel, {"memory": True})
            self._large = True

    def _arm(self, work: DecodeWork) -> None:
        self._work = work
        limit_s = self._limits.attempt_seconds(work) * _GRACE
        signal.alarm(math.ceil(limit_s) + 5)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = math.ceil(usage.ru_utime + usage.ru_stime + 2 * limit_s) + 5
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _asked_of_parent(channel: ipc.Channel, question: ipc.Message) -> ipc.Message:
    """The parent's answer; the alarm stands still meanwhile, since the wait is not the video's."""
    left_s = signal.alarm(0)
    try:
        channel.send(question)
        return channel.receive()
    finally:
        signal.alarm(left_s)


def _unit(request: ipc.Message) -> Unit:
    """The request's unit; who asks keeps its names and address to itself."""
    clips = request["clips"]
    return Unit(
        *("", "", ""),
        start_s=request["start_s"],
        end_s=request["end_s"],
        clips=None if clips is None else tuple(clips),
    )


def _decoder(name: str) -> Callable[..., Decoded]:
    """The `decode` of a decoder; its module is imported here so that `main` reports a failure."""
    if name == "decord":
        from workers.decoding import decord

        decord.require()
        return decord.decode
    if name == NVDEC:
        from workers.decoding import nvdec

        nvdec.begin()
        return nvdec.decode
    from workers.decoding import pyav

    return pyav.decode


def _load_libraries() -> None:
    """Imports what libraries would import when they first need it, and then could not read."""
    parts = [module.name for module in pkgutil.walk_packages(av.__path__, "av.")]
    for name in (*parts, "numpy.ma"):
        if name != "av.__main__":
            importlib.import_module(name)


def _as_failure(error: Exception) -> UnitFailure:
    if isinstance(error, UnitFailure):
        return error
    no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    no_memory |= getattr(error, "code", None) == OPENCV_NO_MEMORY
    if no_memory or isinstance(error, MemoryError):
        return UnitFailure(ErrorType.out_of_memory, "decoding needed more memory than the limit")
    words = getattr(error, "strerror", None) or str(error)
    return UnitFailure(ErrorType.internal, f"{type(error).__name__}: {words}")


def _limit_memory(limits: DecodeLimits) -> None:
    """Limits the address space beyond what the idle process has mapped.

    The parent may raise the limit from ``small_memory_bytes`` to ``memory_bytes``.
    """
    try:
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # without /proc (macOS) the kernel does not enforce the limit either
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = mapped + limits.memory_bytes
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    small = mapped + min(limits.small_memory_bytes, limits.memory_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (min(small, most), most))


def main() -> None:
    """Answers requests until the parent closes the channel."""
    settings = json.loads(sys.argv[1])
    missing = die_with_parent(settings["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    channel = ipc.Channel.inherited(settings["channel"])
    limits = DecodeLimits(**settings["limits"])
    try:
        protocol = Protocol(**settings["protocol"])
        _load_libraries()
        worker = Worker(
            settings["decoder"],
            protocol,
            limits,
            settings["memory"],
            channel,
            mode=settings["mode"],
        )
    except ImportError as error:
        channel.send({"error": one_line(str(error))})
        return
    file_bytes = limits.output_bytes + _STDERR_BYTES
    if settings["decoder"] == NVDEC:
        missing += restrict_with_gpu(file_bytes=file_bytes)
    else:
        _limit_memory(limits)
        missing += restrict(file_bytes=file_bytes, threads=settings["decoder"] == "decord")
    channel.send({"missing": missing})
    while True:
        try:
            request = channel.receive()
        except (EOFError, OSError):
            return
        channel.send(worker.answer(request))


if __name__ == "__main__":
    main()
