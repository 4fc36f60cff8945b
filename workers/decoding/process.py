"""The parent's side of a decoder child process: start it, send requests, enforce the time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import workers
from workers.decoding import ipc
from workers.decoding.progress import DecodeWork
from workers.decoding.shared_memory import Pixels, Shape, SharedFrames
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import one_line
from workers.io.fetching import anonymous_file
from workers.sampling import Protocol

_START_SECONDS = 120.0
_STDERR_BYTES = 1 << 20


class ChildDied(Exception):  # noqa: N818 - an event
    """The child process died; ``signal_number`` is 0 if it exited without a signal."""

    def __init__(self, words: str, *, signal_number: int, stderr: str) -> None:
        super().__init__(words)
        self.signal_number = signal_number
        self.stderr = stderr


class ChildProcess:
    """A running child process, for one thread at a time.

    Raises RuntimeError with the child's message if it cannot start: the installation is broken, not
    a video. Raises ChildDied if a signal killed it during the start.
    """

    def __init__(self, decoder: str, protocol: Protocol, limits: DecodeLimits) -> None:
        self.served = 0
        self._limits = limits
        self.rss_bytes = 0
        self._memory = anonymous_file(in_memory=True)
        self._shared = SharedFrames(self._memory)
        self._stderr = anonymous_file(in_memory=True)
        self._replies, replies_out = os.pipe()
        settings = {
            "decoder": decoder,
            "protocol": asdict(protocol),
            "limits": asdict(limits),
            "memory": self._memory,
            "replies": replies_out,
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workers.decoding.child", json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(self._memory, replies_out),
                env=_environment(),
            )
        except BaseException:
            for descriptor in (self._memory, self._stderr, self._replies):
                os.close(descriptor)
            raise
        finally:
            os.close(replies_out)
        self._wait_until_ready()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, kind: str, unit: Unit) -> ipc.Message:
        """The child's answer to a request of ``kind``.

        Raises ipc.TimedOut, with the reason, where the child takes longer than
        `DecodeLimits.attempt_seconds` allows for the work that it reports, or reports nothing for
        as long as an attempt without work may take. Raises ChildDied where it dies.
        """
        assert self._process.stdin is not None
        self.served += 1
        if os.fstat(self._stderr).st_size > _STDERR_BYTES:
            os.ftruncate(self._stderr, 0)
        try:
            ipc.send(self._process.stdin.fileno(), {"kind": kind, "unit": asdict(unit)})
            answer = self._answer(unit)
            self.rss_bytes = int(answer["rss_bytes"])
        except (BrokenPipeError, EOFError, ValueError, TypeError, KeyError):
            raise self._death() from None
        return answer

    def _answer(self, unit: Unit) -> ipc.Message:
        began, work = time.monotonic(), DecodeWork()
        while True:
            limit_s = self._limits.attempt_seconds(unit.uri, work)
            left_s = began + limit_s - time.monotonic()
            silent_s = self._limits.attempt_seconds(unit.uri)
            try:
                answer = ipc.receive(self._replies, seconds=min(left_s, silent_s))
            except ipc.TimedOut:
                if left_s > silent_s:
                    raise ipc.TimedOut(f"the decoder made no progress for {silent_s:g} s") from None
                raise ipc.TimedOut(_too_long(limit_s, work)) from None
            if "work" not in answer:
                return answer
            work = DecodeWork(**answer["work"])

    def frames(self, shape: Shape) -> Pixels:
        """A copy of the frames that the last answer announced: uint8 of ``shape``."""
        return self._shared.taken(shape)

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill the process, wait for it, close everything; may be called again."""
        if self._replies < 0:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        for descriptor in (self._memory, self._stderr, self._replies):
            os.close(descriptor)
        self._replies = -1

    def _wait_until_ready(self) -> None:
        try:
            answer = ipc.receive(self._replies, seconds=_START_SECONDS)
            problem = answer.get("error")
        except ipc.TimedOut:
            problem = f"no answer within {_START_SECONDS:.0f} s"
        except (EOFError, ValueError):
            raise self._death_at_start() from None
        except BaseException:
            self.end()
            raise
        if problem:
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


def _too_long(limit_s: float, work: DecodeWork) -> str:
    shown = f"{limit_s:,.0f}" if limit_s >= 10 else f"{limit_s:g}"
    words = f"fetching and decoding took longer than {shown} s"
    if not work.size:
        return words
    words = f"{words}, the limit for a file of {work.size:,} bytes"
    if work.frames != 0:
        frames = "all" if work.frames is None else f"{work.frames:,}"
        words = f"{words} with {frames} frames of {work.pixels:,} pixels to decode"
    return f"{words}; --decode-timeout raises it"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """The parent's environment, for one thread, and with this package on PYTHONPATH."""
    root = str(Path(workers.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, inherited] if inherited else [root]),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
