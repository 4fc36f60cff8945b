"""Decoding that cannot hurt: every unit gives frames or a failure row, whatever the file does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import numpy as np

from workers.decoding import ipc as wire
from workers.decoding.process import ChildProcess, Died
from workers.decoding.types import DECODERS, DecodedUnit, DecodeLimits, Measured, Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import Protocol

_Result = TypeVar("_Result")
Reader = Callable[[Unit, ChildProcess, wire.Message], _Result]

# A child that is killed before it has seen a file was killed by somebody else: the system, short of
# memory, or an operator. That passes, and must cost neither a video nor, with an actor, the job.
_START_PAUSES_S = (0.0, 0.5, 1.0)

_NO_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")


class SandboxedDecoder:
    """Fetches, decodes, samples and resizes units in a persistent child process.

    ``decoder``: "pyav" (the default) or "decord", which leaves to PyAV the files of which it would
    give other frames.
    Raises ValueError for another one and RuntimeError where the child cannot start, such as when
    decord is not installed. Use one per thread; ``close`` it, or use it as a context manager.

    A child that dies gets one more try, in a fresh child and always on PyAV: a crash may be the
    late effect of an earlier file, or of the system's lack of memory; and decord, which has had no
    release for years, is trusted with a file once. A time-out gets none, as it would double
    the longest wait there is; nor does PyAV where memory was lacking, as it would be again.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        decoder: str = "pyav",
        limits: DecodeLimits = DecodeLimits(),  # noqa: B008 - frozen
    ) -> None:
        self._child: ChildProcess | None = None
        if decoder not in DECODERS:
            raise ValueError(f"no decoder {decoder!r}; there are: {', '.join(DECODERS)}")
        if decoder != "pyav" and protocol.every_s is not None:
            raise ValueError(f"{decoder} decodes no timelines; pyav does")
        self._protocol = protocol
        self._decoder = decoder
        self._limits = limits
        self._closed = False
        try:
            self._child = self._start(decoder)
        except Died as death:
            raise RuntimeError(f"the decoder process could not start: {death}") from None

    @property
    def child_pid(self) -> int | None:
        """Process id of the present child."""
        return None if self._child is None else self._child.pid

    def decode(self, unit: Unit) -> DecodedUnit | UnitFailure:
        """The unit's frames, or why there are none; raises for no video, however broken."""
        return self._ask("decode", unit, self._decoded)

    def measure(self, unit: Unit) -> Measured | UnitFailure:
        """How long the unit's whole video is, without decoding it, or why that is not known."""
        return self._ask("measure", unit, _measured)

    def _ask(self, kind: str, unit: Unit, read: Reader[_Result]) -> _Result | UnitFailure:
        if self._closed:
            raise ValueError("this decoder was closed")
        result = self._attempt(kind, unit, read, self._decoder)
        if isinstance(result, UnitFailure) and self._deserves_another(result):
            second = self._attempt(kind, unit, read, "pyav")
            if self._decoder != "pyav":
                self._end_child()
            if isinstance(second, UnitFailure | DecodedUnit):
                second.attempts = 2
            return second
        return result

    def _deserves_another(self, failure: UnitFailure) -> bool:
        if failure.error_type is ErrorType.out_of_memory:
            return self._decoder != "pyav"  # decord reserves what a lying header announces
        return failure.error_type is ErrorType.crashed

    def close(self) -> None:
        """End the child process; may be called again."""
        self._closed = True
        self._end_child()

    def __enter__(self) -> SandboxedDecoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.close()

    def _start(self, decoder: str) -> ChildProcess:
        """A child that is ready; raises Died where every one of several was killed."""
        for pause in _START_PAUSES_S:
            try:
                return ChildProcess(decoder, self._protocol, self._limits)
            except Died:
                time.sleep(pause)
        return ChildProcess(decoder, self._protocol, self._limits)

    def _attempt(
        self, kind: str, unit: Unit, read: Reader[_Result], decoder: str
    ) -> _Result | UnitFailure:
        try:
            child = self._ready_child(decoder)
        except Died as death:
            return _failure_of(death)
        except (RuntimeError, OSError) as error:
            return UnitFailure(ErrorType.internal, str(error))
        try:
            answer = child.ask(kind, unit)
            failure = answer.get("failure")
            return read(unit, child, answer) if failure is None else self._failed(answer)
        except wire.Late as late:
            self._end_child()
            return UnitFailure(ErrorType.timeout, str(late))
        except Died as death:
            self._end_child()
            return _failure_of(death)
        except BaseException:
            self._end_child()  # what it would answer next belongs to this unit
            raise

    def _failed(self, answer: wire.Message) -> UnitFailure:
        failure = answer["failure"]
        if failure["type"] == ErrorType.out_of_memory:
            self._end_child()
        return UnitFailure(
            ErrorType(failure["type"]),
            failure["message"],
            bytes_read=answer["bytes_read"],
            decode_ms=answer["decode_ms"],
        )

    def _decoded(self, unit: Unit, child: ChildProcess, answer: wire.Message) -> DecodedUnit:
        decoded = answer["decoded"]
        return DecodedUnit(
            unit=unit,
            frames=child.frames(tuple(decoded["shape"])),
            clip_frames=np.array(decoded["clip_frames"], dtype=np.int32),
            clip_times=np.array(decoded["clip_times"], dtype=np.float64),
            frame_count=decoded["frame_count"],
            duration_s=decoded["duration_s"],
            lost_frames=decoded["lost_frames"],
            decode_ms=answer["decode_ms"],
            bytes_read=answer["bytes_read"],
            attempts=1,
            first_clip=decoded["first_clip"],
            etag=answer["etag"],
        )

    def _ready_child(self, decoder: str) -> ChildProcess:
        """A living child that has not served its time; one that died idle counts for no unit."""
        child = self._child
        if child is not None and (
            not child.is_alive()
            or child.served >= self._limits.videos_per_child
            or child.rss_bytes > self._limits.rss_bytes
        ):
            self._end_child()
        if self._child is None:
            self._child = self._start(decoder)
        return self._child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


def _measured(unit: Unit, child: ChildProcess, answer: wire.Message) -> Measured:
    return Measured(answer["measured"], answer["bytes_read"], answer["decode_ms"])


def _failure_of(death: Died) -> UnitFailure:
    if any(words in death.stderr for words in _NO_MEMORY):
        return UnitFailure(ErrorType.out_of_memory, "decoding needed more memory than the limit")
    hint = ""
    if death.signal_number == signal.SIGKILL:
        hint = "; was the system short of memory?"
    return UnitFailure(ErrorType.crashed, f"{death}{hint}")
