"""Decoding in a child process: every unit gives frames or a UnitFailure, whatever its file does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import numpy as np

from workers.decoding import frame_folders, ipc, replies
from workers.decoding.process import ChildDied, ChildProcess
from workers.decoding.restrictions import WITHOUT_FOR_GPU
from workers.decoding.types import (
    DECODE_MODES,
    DECODERS,
    NVDEC,
    DecodedUnit,
    DecodeLimits,
    Measured,
    Unit,
    reads_a_part,
)
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source
from workers.io.fetching import file_version, open_source
from workers.io.frame_folder import FrameFolder
from workers.sampling import Protocol

_Result = TypeVar("_Result")
Costs = tuple[int, float]  # bytes read, CPU milliseconds
Reader = Callable[["_Video", ChildProcess, ipc.Message, Costs], _Result]

# A child that is killed before it read a file was killed from outside: by the system, short of
# memory, or by an operator. Starting it again mostly works, and saves the video and the actor.
_START_PAUSES_S = (0.0, 0.5, 1.0)

_MEMORY_WORDS = "decoding needed more memory than the limit"
_NO_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")

# After these a child may be in any state, or hold memory that it does not give back.
_SPOILS_THE_CHILD = (ErrorType.timeout, ErrorType.crashed, ErrorType.out_of_memory)


class _Video:
    """A unit and its opened video, during the attempts to decode it.

    ``again``: the video is open since an earlier unit. ``in_part``: only a part of it is read.
    ``keep``: it stays open for the next unit. ``large``: it needs the large memory limit.
    """

    def __init__(
        self, unit: Unit, source: Source, *, again: bool, in_part: bool, keep: bool
    ) -> None:
        self.unit = unit
        self.source = source
        self.keep = keep
        self.large = False
        self._again = again
        self._in_part = in_part
        self._before = source.content.received if again else 0
        if again:
            source.content.begin_unit()

    def bytes_read(self, by_child: int) -> int:
        """Bytes that left the storage for this unit; the child read ``by_child`` of a file."""
        if self.source.content.is_remote:
            return self.source.content.received - self._before
        if self.source.fetched is not None:
            return 0 if self._again else self.source.fetched
        return by_child if self._in_part else self.source.size  # all its packets are read


class SandboxedDecoder:
    """Fetches, decodes, samples and resizes units in a persistent child process.

    ``decoder``: "pyav" (the default); "decord", which uses PyAV for files of which decord gives
    wrong frames; or "nvdec", which decodes on a GPU. ``mode``: "exact" (the default), or "fast",
    which gives nearly the same frames for less and needs "pyav". Raises ValueError for any other
    and RuntimeError if the child cannot start, for example because decord is not installed. Use one
    per thread; ``close`` it, or use it as a context manager.

    After a crash the unit is tried once more, in a new child and always with PyAV: the cause may be
    an earlier file, a lack of system memory, or decord. A unit that needs more memory than the
    small limit is tried once more with the large one. There is no second attempt after a time-out,
    which would double the longest wait.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        decoder: str = "pyav",
        limits: DecodeLimits = DecodeLimits(),  # noqa: B008 - frozen
        mode: str = DECODE_MODES[0],
    ) -> None:
        self._child: ChildProcess | None = None
        self._open = ExitStack()
        self._source: Source | None = None
        self._key: tuple[object, ...] = ()
        if decoder not in DECODERS:
            raise ValueError(f"decoder must be one of {', '.join(DECODERS)}; got {decoder!r}")
        if mode not in DECODE_MODES:
            raise ValueError(f"mode must be one of {', '.join(DECODE_MODES)}; got {mode!r}")
        if decoder != "pyav" and mode != DECODE_MODES[0]:
            raise ValueError(f"decoder {decoder!r} has no mode {mode!r}; use 'pyav'")
        if decoder != "pyav" and protocol.every_s is not None:
            raise ValueError(f"decoder {decoder!r} cannot do dense labeling; use 'pyav'")
        if decoder == NVDEC and limits.require_sandbox:
            raise ValueError(
                f"--require-sandbox refuses --decoder nvdec, whose process goes without "
                f"{', '.join(WITHOUT_FOR_GPU)}; use --decoder pyav"
            )
        self._protocol = protocol
        self._decoder = decoder
        self._limits = limits
        self._mode = mode
        self._closed = False
        self._had_large_limit = False
        try:
            self._child = self._start(decoder)
        except ChildDied as death:
            raise RuntimeError(f"the decoder process could not start: {death}") from None
        self.missing = tuple(self._child.missing)
        if self.missing and limits.require_sandbox:
            self.close()
            raise RuntimeError(
                f"--require-sandbox: the kernel of this machine lacks {' and '.join(self.missing)}"
            )

    @property
    def child_pid(self) -> int | None:
        """Process id of the current child."""
        return None if self._child is None else self._child.pid

    def decode(self, unit: Unit) -> DecodedUnit | UnitFailure:
        """The unit's frames, or a UnitFailure; never raises because of a video."""
        return self._ask("decode", unit, self._decoded)

    def measure(self, unit: Unit) -> Measured | UnitFailure:
        """The duration of the unit's whole video, found without decoding, or a UnitFailure."""
        try:
            folder = FrameFolder.of(unit.part)
            if folder is not None:
                return frame_folders.measured(folder, unit, self._limits)
        except UnitFailure as failure:
            return failure.with_traceback(None)
        return self._ask("measure", unit, _measured)

    def _ask(self, kind: str, unit: Unit, read: Reader[_Result]) -> _Result | UnitFailure:
        if self._closed:
            raise ValueError("this decoder was closed")
        try:
            video = self._opened(kind, unit)
        except UnitFailure as failure:
            return failure.with_traceback(None)  # its frames would keep this decoder alive
        try:
            return self._attempts(kind, video, read)
        finally:
            if not video.keep or video.source.failure is not None:
                self._let_go()

    def _attempts(self, kind: str, video: _Video, read: Reader[_Result]) -> _Result | UnitFailure:
        result = self._attempt(kind, video, read, self._decoder)
        if video.source.failure is not None:  # what was decoded ended where fetching did
            video.source.failure.bytes_read = video.bytes_read(0)
            return video.source.failure.with_traceback(None)
        if not isinstance(result, UnitFailure) or not self._may_retry(result):
            return result
        video.large = result.error_type is ErrorType.out_of_memory
        second = self._attempt(kind, video, read, "pyav")
        if self._decoder != "pyav":
            self._end_child()
        if isinstance(second, UnitFailure | DecodedUnit):
            second.attempts = 2
        return second

    def _may_retry(self, failure: UnitFailure) -> bool:
        if failure.error_type is ErrorType.out_of_memory:
            # decord allocates the size in the header, even if wrong
            return self._decoder != "pyav" or not self._had_large_limit
        return failure.error_type is ErrorType.crashed

    def _opened(self, kind: str, unit: Unit) -> _Video:
        """The unit's video; that of the last one where both are segments of one recording."""
        folder = FrameFolder.of(unit.part)
        if folder is not None:
            self._let_go()
            opened = frame_folders.open_folder(folder, unit, self._protocol, self._limits)
            self._source = self._open.enter_context(opened)
            return _Video(unit, self._source, again=False, in_part=False, keep=False)
        in_part = kind == "measure" or self._protocol.every_s is not None
        keep = kind == "decode" and not (unit.start_s is None and unit.end_s is None)
        ranged = in_part or reads_a_part(unit, self._mode)
        key = unit.uri, unit.part, unit.etag, ranged, file_version(unit.uri)
        again = self._source is not None and self._key == key
        if not again:
            self._let_go()
            self._key = key
            self._source = self._open.enter_context(
                open_source(
                    unit.uri,
                    max_bytes=1 << 62 if in_part else self._limits.source_bytes,
                    part=unit.part,
                    etag=unit.etag,
                    seconds=self._limits.fetch_seconds,
                    ranged=ranged,
                    private_hosts=self._limits.private_hosts,
                )
            )
        assert self._source is not None
        return _Video(unit, self._source, again=again, in_part=ranged, keep=keep)

    def _let_go(self) -> None:
        self._source = None
        self._open.close()

    def close(self) -> None:
        """End the child process; may be called again."""
        self._closed = True
        self._let_go()
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
                return ChildProcess(decoder, self._protocol, self._limits, self._mode)
            except ChildDied:
                time.sleep(pause)
        return ChildProcess(decoder, self._protocol, self._limits, self._mode)

    def _attempt(
        self, kind: str, video: _Video, read: Reader[_Result], decoder: str
    ) -> _Result | UnitFailure:
        try:
            child = self._ready_child(decoder)
        except ChildDied as death:
            return _failure_of(death)
        except (RuntimeError, OSError) as error:
            return UnitFailure(ErrorType.internal, str(error))
        try:
            answer = child.ask(kind, video.unit, video.source, keep=video.keep, large=video.large)
            result = _read(video, child, answer, read)
        except ipc.TimedOut as late:
            result = UnitFailure(ErrorType.timeout, str(late) or "the decoder took no request")
        except ChildDied as death:
            result = _failure_of(death)
        except (ipc.BadMessage, replies.BadReply) as reason:
            result = UnitFailure(
                ErrorType.crashed, f"the decoder process sent an impossible answer: {reason}"
            )
        except BaseException:
            self._end_child()  # its next answer would be that of this unit
            raise
        self._had_large_limit = child.had_large_limit
        if decoder == "pyav" and _lost_frames(result) and child.came_near_the_memory_limit():
            result = UnitFailure(ErrorType.out_of_memory, _MEMORY_WORDS)
        if isinstance(result, UnitFailure) and result.error_type in _SPOILS_THE_CHILD:
            self._end_child()
        return result

    def _decoded(
        self, video: _Video, child: ChildProcess, answer: ipc.Message, costs: Costs
    ) -> DecodedUnit:
        bytes_read, decode_ms = costs
        decoded = replies.decoded(answer, video.unit, self._protocol, self._limits)
        return DecodedUnit(
            unit=video.unit,
            frames=child.frames(decoded.shape),
            clip_frames=decoded.clip_frames.astype(np.int32),
            clip_times=decoded.clip_times,
            frame_count=decoded.frame_count,
            duration_s=decoded.duration_s,
            lost_frames=decoded.lost_frames,
            decode_ms=decode_ms,
            bytes_read=bytes_read,
            attempts=1,
            first_clip=decoded.first_clip,
            etag=video.source.etag,
            clips=decoded.clips,
        )

    def _ready_child(self, decoder: str) -> ChildProcess:
        """A running child below its limits; replaces it otherwise."""
        child = self._child
        if child is not None and not child.is_fit():
            self._end_child()
        if self._child is None:
            self._child = self._start(decoder)
        return self._child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


def _read(
    video: _Video, child: ChildProcess, answer: ipc.Message, read: Reader[_Result]
) -> _Result | UnitFailure:
    """What an answer says, a result or a failure; raises replies.BadReply."""
    count, decode_ms = replies.costs(answer)
    costs = video.bytes_read(count), decode_ms
    failure = replies.failure(answer)
    if failure is None:
        return read(video, child, answer, costs)
    failure.bytes_read, failure.decode_ms = costs
    return failure


def _measured(video: _Video, child: ChildProcess, answer: ipc.Message, costs: Costs) -> Measured:
    return Measured(replies.measured(answer), *costs)


def _lost_frames(result: object) -> bool:
    if isinstance(result, UnitFailure):
        return result.error_type is ErrorType.corrupt
    return isinstance(result, DecodedUnit) and result.lost_frames > 0


def _failure_of(death: ChildDied) -> UnitFailure:
    if any(words in death.stderr for words in _NO_MEMORY):
        return UnitFailure(ErrorType.out_of_memory, _MEMORY_WORDS)
    hint = ""
    if death.signal_number == signal.SIGKILL:
        hint = "; the system may be out of memory"
    return UnitFailure(ErrorType.crashed, f"{death}{hint}")
