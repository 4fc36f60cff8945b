"""The parent's side of a decoder's child process: start it, hand it videos, enforce its limits."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import workers
from workers.decoding import ipc, replies
from workers.decoding.memory_slots import MemorySlots
from workers.decoding.progress import DecodeWork
from workers.decoding.shared_memory import Pixels, Shape, SharedFrames
from workers.decoding.types import NVDEC, DecodeLimits, Unit
from workers.failures import one_line
from workers.io.content import FileContent, Source
from workers.io.fetching import anonymous_file
from workers.io.frame_table import FrameSource
from workers.machine import machine_memory
from workers.sampling import Protocol

_MODULE = "workers.decoding.child"
_START_SECONDS = 120.0
_STDERR_BYTES = 1 << 20
_LEAST_ROOM = 0.5  # of the small memory limit, for the next unit
_NEAR = 0.75  # of the memory limit; no allocation of a usual picture is larger than the rest

# All that the child inherits of the environment, apart from where modules lie: nothing that gives
# access to anything.
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_INHERITED_WITH_GPU = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


class ChildDied(Exception):  # noqa: N818 - an event
    """The child process died; ``signal_number`` is 0 if it exited without a signal."""

    def __init__(self, words: str, *, signal_number: int, stderr: str) -> None:
        super().__init__(words)
        self.signal_number = signal_number
        self.stderr = stderr


class ChildProcess:
    """A running child process, for one thread at a time.

    ``missing`` names the parts of the sandbox that the kernel lacks, see `restrictions`. Raises
    RuntimeError with the child's message if it cannot start: the installation is broken, not a
    video. Raises ChildDied if a signal killed it during the start.
    """

    def __init__(self, decoder: str, protocol: Protocol, limits: DecodeLimits, mode: str) -> None:
        self.served = 0
        self.had_large_limit = False
        self._limits = limits
        self._slots = MemorySlots(limits.large_slots)
        self._closing = ExitStack()
        self._memory = self._kept_open(anonymous_file(in_memory=True))
        self._shared = SharedFrames(self._memory)
        self._stderr = self._kept_open(anonymous_file(in_memory=True))
        self._channel, theirs = ipc.Channel.pair()
        self._closing.callback(self._channel.close)
        self._handed: Source | None = None
        settings = {
            "decoder": decoder,
            "mode": mode,
            "protocol": asdict(protocol),
            "limits": asdict(limits),
            "memory": self._memory,
            "channel": theirs.fileno(),
            "parent": os.getpid(),
        }
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, json.dumps(settings)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr,
                    pass_fds=(self._memory, theirs.fileno()),
                    env=_environment(decoder),
                    start_new_session=True,  # its process group ends with it
                )
        except BaseException:
            self._closing.close()
            raise
        self.missing = self._wait_until_ready()
        self._small_bytes = self._address_space_limit()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, kind: str, unit: Unit, source: Source, *, keep: bool, large: bool) -> ipc.Message:
        """The child's answer to a request of ``kind`` about ``unit`` of ``source``.

        ``keep``: the child keeps the file open for the next unit of the same source.
        ``large``: it gets the memory of a large picture at once.

        Raises ipc.TimedOut, with the reason, where the child takes longer than
        `DecodeLimits.attempt_seconds` allows for the work that it reports, or reports nothing for
        as long as an attempt without work may take. Raises ChildDied where it dies, and
        replies.BadReply or ipc.BadMessage where it sends what no sound child sends.
        """
        self.served += 1
        self.had_large_limit = False
        if os.fstat(self._stderr).st_size > _STDERR_BYTES:
            os.ftruncate(self._stderr, 0)
        with ExitStack() as slot:
            if large:
                self._allow_large(slot)
            try:
                self._hand(kind, unit, source, keep=keep)
                answer = self._answer(source, slot)
            except (OSError, EOFError):
                raise self._death() from None
        if not keep:
            self._handed = None
        return answer

    def _hand(self, kind: str, unit: Unit, source: Source, *, keep: bool) -> None:
        """Sends a request; the descriptor of a file goes along once."""
        again, self._handed = self._handed is source, source
        descriptors = []
        if isinstance(source.content, FileContent) and not again:
            descriptors.append(source.content.descriptor)
        self._channel.send(
            {
                "kind": kind,
                "start_s": unit.start_s,
                "end_s": unit.end_s,
                "clips": unit.clips,
                "size": source.size,
                "again": again,
                "keep": keep,
                "frames": asdict(source.table) if isinstance(source, FrameSource) else None,
            },
            descriptors=descriptors,
            seconds=self._limits.seconds,
        )

    def _answer(self, source: Source, slot: ExitStack) -> ipc.Message:
        began, fetching_s, work = time.monotonic(), 0.0, DecodeWork(size=source.size)
        while True:
            limit_s = self._limits.attempt_seconds(work)
            granted_s = limit_s + min(fetching_s, self._limits.fetch_seconds)
            left_s = began + granted_s - time.monotonic()
            silent_s = self._limits.seconds
            try:
                message = self._channel.receive(seconds=min(left_s, silent_s))
            except ipc.TimedOut:
                if left_s > silent_s:
                    raise ipc.TimedOut(f"the decoder made no progress for {silent_s:g} s") from None
                raise ipc.TimedOut(_too_long(limit_s, work)) from None
            waiting = time.monotonic()
            if set(message) == {"work"}:
                work = replies.work(message, size=source.size, limits=self._limits)
            elif set(message) == {"read"}:
                data = self._wanted(source, message)
                fetching_s += time.monotonic() - waiting  # the store's time is not the decoder's
                self._channel.send({"read": len(data)}, data, seconds=silent_s)
            elif message == {"memory": True}:
                self._allow_large(slot)
                began += time.monotonic() - waiting
                self._channel.send({"memory": True}, seconds=silent_s)
            else:
                return message

    def _wanted(self, source: Source, message: ipc.Message) -> bytes:
        if isinstance(source.content, FileContent):
            raise replies.BadReply("the child asks for bytes of a file that it has")
        offset, count = replies.wanted_range(message, size=source.size)
        return source.content.read_at(offset, count)

    def _allow_large(self, slot: ExitStack) -> None:
        """Gives the child the memory of a large picture until ``slot`` closes."""
        more = self._large_bytes - self._least_bytes
        if self._small_bytes is None or more <= 0 or self.had_large_limit:
            return
        self.had_large_limit = True
        slot.enter_context(self._slots.taken())
        self._set_address_space(self._small_bytes + more)
        slot.callback(self._set_address_space, self._small_bytes)

    @property
    def _least_bytes(self) -> int:
        return min(self._limits.small_memory_bytes, self._limits.memory_bytes)

    @property
    def _large_bytes(self) -> int:
        return min(self._limits.memory_bytes, machine_memory() // 4)

    def _address_space_limit(self) -> int | None:
        """The limit that the child set itself; None where the system has no such limit."""
        if not hasattr(resource, "prlimit"):
            return None
        soft, _ = resource.prlimit(self.pid, resource.RLIMIT_AS)
        return None if soft == resource.RLIM_INFINITY else soft

    def _set_address_space(self, soft: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_AS)
            soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
            resource.prlimit(self.pid, resource.RLIMIT_AS, (soft, hard))

    def frames(self, shape: Shape) -> Pixels:
        """A copy of the frames that the last answer announced: uint8 of ``shape``.

        Raises BadReply where there are fewer.
        """
        try:
            return self._shared.taken(shape)
        except EOFError as error:
            raise replies.BadReply(str(error)) from None

    def came_near_the_memory_limit(self) -> bool:
        """Whether an allocation may have failed, after which FFmpeg loses frames or gives up."""
        if self._small_bytes is None:
            return False
        allowed = self._large_bytes if self.had_large_limit else self._least_bytes
        idle = self._small_bytes - self._least_bytes
        return _status_bytes(self.pid, "VmPeak") - idle > _NEAR * allowed

    def is_fit(self) -> bool:
        """Whether the process runs, and is below its limits for the next unit."""
        if self._process.poll() is not None or self.served >= self._limits.videos_per_child:
            return False
        if self._small_bytes is not None:
            room = self._small_bytes - _status_bytes(self.pid, "VmSize")
            if room < _LEAST_ROOM * self._least_bytes:
                return False
        return _status_bytes(self.pid, "VmRSS") <= self._limits.rss_bytes

    def end(self) -> None:
        """Kill the process and its group, wait for it, close everything; may be called again."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._closing.close()

    def _kept_open(self, descriptor: int) -> int:
        self._closing.callback(os.close, descriptor)
        return descriptor

    def _wait_until_ready(self) -> list[str]:
        try:
            return replies.started(self._channel.receive(seconds=_START_SECONDS))
        except ipc.TimedOut:
            problem = f"no answer within {_START_SECONDS:.0f} s"
        except RuntimeError as error:
            problem = str(error)
        except (OSError, EOFError, ipc.BadMessage, replies.BadReply):
            raise self._death_at_start() from None
        except BaseException:
            self.end()
            raise
        self.end()
        raise RuntimeError(f"the decoder process could not start: {problem}")

    def _death_at_start(self) -> ChildDied | RuntimeError:
        death = self._death()
        self.end()
        if death.signal_number:
            return death
        return RuntimeError(f"the decoder process could not start: {death}")

    def _death(self) -> ChildDied:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        stderr = self._last_words()
        if code >= 0:
            words = f"decoder process ended with exit code {code}"
        else:
            words = f"decoder process died by {_signal_name(-code)}"
        said = f" ({stderr})" if stderr else ""
        return ChildDied(words + said, signal_number=max(-code, 0), stderr=stderr)

    def _last_words(self) -> str:
        size = os.fstat(self._stderr).st_size
        tail = os.pread(self._stderr, 2000, max(0, size - 2000)).decode(errors="replace")
        lines = [line for line in tail.splitlines() if line.strip()]
        return one_line(lines[-1], limit=160) if lines else ""


def _status_bytes(pid: int, name: str) -> int:
    """Such as VmSize, the address space of a process; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines[name].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return 0


def _too_long(limit_s: float, work: DecodeWork) -> str:
    shown = f"{limit_s:,.0f}" if limit_s >= 10 else f"{limit_s:g}"
    words = f"decoding took longer than {shown} s, the limit for a file of {work.size:,} bytes"
    if work.frames != 0:
        frames = "all" if work.frames is None else f"{work.frames:,}"
        words = f"{words} with {frames} frames of {work.pixels:,} pixels to decode"
    return f"{words}; --decode-timeout raises it"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment(decoder: str) -> dict[str, str]:
    """The child's environment: where its modules and libraries lie, and one thread each."""
    names = (*_INHERITED, *(_INHERITED_WITH_GPU if decoder == NVDEC else ()))
    root = str(Path(workers.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {name: os.environ[name] for name in names if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join([root, inherited] if inherited else [root]),
        "PATH": os.defpath,  # decord asks for it
        "MALLOC_ARENA_MAX": "1",  # each other one takes 64 MiB of the limited address space
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
