"""Decoding in a child process: every unit gives frames or a UnitFailure, whatever its file does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from workers.decoding import ipc
from workers.decoding.process import ChildDied, ChildProcess
from workers.decoding.types import DECODERS, DecodedUnit, DecodeLimits, Measured, Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import Protocol

_Result = TypeVar("_Result")
Reader = Callable[[Unit, ChildProcess, ipc.Message], _Result]

# A child that is killed before it read a file was killed from outside: by the system, short of
# memory, or by an operator. Starting it again mostly works, and saves the video and the actor.
_START_PAUSES_S = (0.0, 0.5, 1.0)

_NO_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")


class SandboxedDecoder:
    """Fetches, decodes, samples and resizes units in a persistent child process.

    ``decoder``: "pyav" (the default) or "decord", which uses PyAV for files of which decord gives
    wrong frames. Raises ValueError for any other and RuntimeError if the child cannot start, for
    example because decord is not installed. Use one per thread; ``close`` it, or use it as a
    context manager.

    After a crash the unit is tried once more, in a new child and always with PyAV: the cause may be
    an earlier file, a lack of system memory, or decord. There is no second attempt after a
    time-out, which would double the longest wait, nor after PyAV exceeded the memory limit.
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
            raise ValueError(f"decoder must be one of {', '.join(DECODERS)}; got {decoder!r}")
        if decoder != "pyav" and protocol.every_s is not None:
            raise ValueError(f"decoder {decoder!r} cannot do dense labeling; use 'pyav'")
        self._protocol = protocol
        self._decoder = decoder
        self._limits = limits
        self._closed = False
        try:
            self._child = self._start(decoder)
        except ChildDied as death:
            raise RuntimeError(f"the decoder process could not start: {death}") from None

    @property
    def child_pid(self) -> int | None:
        """Process id of the current child."""
        return None if self._child is None else self._child.pid

    def decode(self, unit: Unit) -> DecodedUnit | UnitFailure:
        """The unit's frames, or a UnitFailure; never raises because of a video."""
        return self._ask("decode", unit, self._decoded)

    def measure(self, unit: Unit) -> Measured | UnitFailure:
        """The duration of the unit's whole video, found without decoding, or a UnitFailure."""
        return self._ask("measure", unit, _measured)

    def _ask(self, kind: str, unit: Unit, read: Reader[_Result]) -> _Result | UnitFailure:
        if self._closed:
            raise ValueError("this decoder was closed")
        result = self._attempt(kind, unit, read, self._decoder)
        if isinstance(result, UnitFailure) and self._may_retry(result):
            second = self._attempt(kind, unit, read, "pyav")
            if self._decoder != "pyav":
                self._end_child()
            if isinstance(second, UnitFailure | DecodedUnit):
                second.attempts = 2
            return second
        return result

    def _may_retry(self, failure: UnitFailure) -> bool:
        if failure.error_type is ErrorType.out_of_memory:
            return self._decoder != "pyav"  # decord allocates the size in the header, even if wrong
        return failure.error_type is ErrorType.crashed

    def close(self) -> None:
        """End the child process; may be called again."""
        self._closed = True
        self._end_child()

    def __enter__(self) -> SandboxedDecoder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.close()

    def _start(self, decoder: str) -> ChildProcess:
        """A ready child; raises ChildDied if several in a row were killed during their start."""
        for pause in _START_PAUSES_S:
            try:
                return ChildProcess(decoder, self._protocol, self._limits)
            except ChildDied:
                time.sleep(pause)
        return ChildProcess(decoder, self._protocol, self._limits)

    def _attempt(
        self, kind: str, unit: Unit, read: Reader[_Result], decoder: str
    ) -> _Result | UnitFailure:
        try:
            child = self._ready_child(decoder)
        except ChildDied as death:
            return _failure_of(death)
        except (RuntimeError, OSError) as error:
            return UnitFailure(ErrorType.internal, str(error))
        try:
            answer = child.ask(kind, unit)
            failure = answer.get("failure")
            return read(unit, child, answer) if failure is None else self._failed(answer)
        except ipc.TimedOut as late:
            self._end_child()
            return UnitFailure(ErrorType.timeout, str(late))
        except ChildDied as death:
            self._end_child()
            return _failure_of(death)
        except BaseException:
            self._end_child()  # its next answer would be that of this unit
            raise

    def _failed(self, answer: ipc.Message) -> UnitFailure:
        failure = answer["failure"]
        if failure["type"] == ErrorType.out_of_memory:
            self._end_child()
        return UnitFailure(
            ErrorType(failure["type"]),
            failure["message"],
            bytes_read=answer["bytes_read"],
            decode_ms=answer["decode_ms"],
        )

    def _decoded(self, unit: Unit, child: ChildProcess, answer: ipc.Message) -> DecodedUnit:
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
        """A running child below its limits; replaces it otherwise."""
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


def _measured(unit: Unit, child: ChildProcess, answer: ipc.Message) -> Measured:
    return Measured(answer["measured"], answer["bytes_read"], answer["decode_ms"])


def _failure_of(death: ChildDied) -> UnitFailure:
    if any(words in death.stderr for words in _NO_MEMORY):
        return UnitFailure(ErrorType.out_of_memory, "decoding needed more memory than the limit")
    hint = ""
    if death.signal_number == signal.SIGKILL:
        hint = "; the system may be out of memory"
    return UnitFailure(ErrorType.crashed, f"{death}{hint}")
