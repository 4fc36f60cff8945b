"""Ways to decode the same video: each is checked against a plain decode, and timed."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.lab.benchmark.paired import OutputsDiffer, Run
from workers.decoding import DECODERS, DecodedUnit, DecodeLimits, SandboxedDecoder, Unit, pyav
from workers.decoding.job import DecodeJob
from workers.decoding.result import Decoded
from workers.failures import UnitFailure
from workers.io.fetching import open_source
from workers.recipes import IntArray
from workers.sampling import Protocol, protocol

Pixels = NDArray[np.uint8]

PROTOCOL = protocol("videomae-k400")

_LIMITS = DecodeLimits(output_bytes=16 << 30)  # full size is more than the pipeline ever holds


@dataclass(frozen=True)
class _FullSize(Protocol):
    """The same frames, not resized."""

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return height, width


@dataclass(frozen=True)
class _OneClip(Protocol):
    """The frames of one of the clips alone."""

    clip: int = 0

    def clip_indices(self, frame_count: int) -> IntArray:
        return super().clip_indices(frame_count)[self.clip : self.clip + 1]


FULL_SIZE = _FullSize(PROTOCOL.name, PROTOCOL.clips, PROTOCOL.crops)
_CLIPS = [
    _OneClip(PROTOCOL.name, PROTOCOL.clips, PROTOCOL.crops, clip=clip)
    for clip in range(PROTOCOL.clips)
]


def core_time(work: Callable[[], object]) -> Run:
    """What does ``work`` once and tells the core seconds of this process and its threads."""

    def run() -> float:
        before = time.process_time()
        work()
        return time.process_time() - before

    return run


def by_ffmpeg(program: str, path: Path) -> Run:
    """ffmpeg's own command: every frame decoded on one thread, to nowhere."""
    with av.open(str(path)) as container:
        number = _best_stream(container, path).index
    command = [program, "-v", "error", "-nostdin", "-threads", "1", "-i", str(path)]
    command += ["-map", f"0:{number}", "-f", "null", "-"]

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def plain_frames(path: Path) -> Iterator[VideoFrame]:
    """Every frame of the best video stream, decoded with PyAV from start to end on one thread.

    Raises ValueError for a file that is no video or is damaged.
    """
    try:
        with av.open(str(path)) as container:
            stream = _best_stream(container, path)
            stream.codec_context.thread_count = 1
            yield from container.decode(stream)
    except av.error.FFmpegError as error:
        raise ValueError(f"{path.name} does not decode from start to end: {error}") from None


def all_frames(path: Path) -> int:
    """Decodes every frame and converts none; how many there are."""
    return sum(1 for _ in plain_frames(path))


def decode_here(path: Path, sampling: Protocol = PROTOCOL) -> tuple[Decoded, Pixels]:
    """What the pipeline's decoder gives, in this process; raises ValueError for a failure."""
    rooms: list[Pixels] = []

    def allocate(shape: tuple[int, int, int, int]) -> Pixels:
        rooms.append(np.empty(shape, dtype=np.uint8))
        return rooms[-1]

    try:
        with open_source(str(path)) as source:
            decoded = pyav.decode(DecodeJob(source, _unit(path), sampling, _LIMITS, allocate))
    except UnitFailure as failure:
        raise ValueError(f"{path.name}: {failure.error_type}: {failure.message}") from None
    return decoded, rooms[-1]


def views_here(path: Path) -> None:
    """The pipeline's decoder, asked for the frames of one view at a time."""
    for clip in _CLIPS:
        for _ in range(PROTOCOL.crops):
            decode_here(path, clip)


def plain_views(path: Path, frames: int) -> list[list[Pixels]]:
    """A plain loop for each view of a video of so many ``frames``.

    Open, decode to the view's last frame, convert and resize its own: (views, T) pictures.
    """
    clips = PROTOCOL.clip_indices(frames).tolist()
    return [_plain_view(path, clip) for clip in clips for _ in range(PROTOCOL.crops)]


def _plain_view(path: Path, clip: list[int]) -> list[Pixels]:
    pictures: dict[int, Pixels] = {}
    for number, frame in enumerate(plain_frames(path)):
        if number in clip:
            pictures[number] = _resized(_rgb(frame))
        if number == max(clip):
            break
    return [pictures[number] for number in clip]


class Sandboxed:
    """A decoder as the pipeline runs it: child process, shared memory, resized."""

    def __init__(self, decoder: str = DECODERS[0]) -> None:
        self.name = decoder
        self._decoder = SandboxedDecoder(PROTOCOL, decoder=decoder)

    def frames(self, path: Path) -> DecodedUnit:
        """Raises ValueError where ``path`` gives none."""
        result = self._decoder.decode(_unit(path))
        if isinstance(result, UnitFailure):
            raise ValueError(f"{path.name}: {result.error_type}: {result.message}")
        return result

    def on(self, path: Path) -> Run:
        """What decodes ``path`` and tells the core seconds of this process and of the child."""

        def run() -> float:
            child = self._decoder.child_pid
            clock = None if child is None else _clock_of(child)
            here = time.process_time()
            there = 0.0 if clock is None else time.clock_gettime(clock)
            result = self.frames(path)
            if result.attempts > 1 or self._decoder.child_pid != child:
                raise RuntimeError(f"{path.name}: the decoder died while it was timed")
            if clock is None:
                return time.process_time() - here + result.decode_ms / 1000
            return time.process_time() - here + time.clock_gettime(clock) - there

        return run

    def close(self) -> None:
        """Ends the child."""
        self._decoder.close()


def check_equality(path: Path, sandboxed: Sandboxed) -> int:
    """The video's number of frames, by a plain decode from start to end.

    Raises OutputsDiffer where any way of decoding gives other frames than that one, and ValueError
    for a video that does not decode from start to end.
    """
    count = all_frames(path)
    clips = PROTOCOL.clip_indices(count)
    wanted = set(clips.ravel().tolist())
    reference = {n: _rgb(frame) for n, frame in enumerate(plain_frames(path)) if n in wanted}
    decoded, frames = decode_here(path, FULL_SIZE)
    _compare(f"{path.name}, full size", clips, decoded.clip_frames, frames, reference)
    small = {number: _resized(pixels) for number, pixels in reference.items()}
    decoded, frames = decode_here(path)
    _compare(f"{path.name}, resized", clips, decoded.clip_frames, frames, small)
    unit = sandboxed.frames(path)
    _compare(f"{path.name}, sandboxed", clips, unit.clip_frames, unit.frames, small)
    for number, clip in enumerate(_CLIPS):
        decoded, frames = decode_here(path, clip)
        view = clips[number : number + 1]
        _compare(f"{path.name}, clip {number} alone", view, decoded.clip_frames, frames, small)
    return count


def difference(path: Path, one: Sandboxed, other: Sandboxed) -> tuple[float, float]:
    """Share of the frames of two decoders that are the same to the bit, and the mean difference of
    a color value, 0 to 255.

    Raises OutputsDiffer where they choose other frames.
    """
    first, second = one.frames(path), other.frames(path)
    if not np.array_equal(first.clip_frames, second.clip_frames):
        raise OutputsDiffer(f"{path.name}: {one.name} and {other.name} choose other frames")
    off = np.abs(first.frames.astype(np.int16) - second.frames)
    return float((off == 0).all(axis=(1, 2, 3)).mean()), float(off.mean())


def _compare(
    what: str,
    clips: IntArray,
    rows: NDArray[np.integer],
    frames: Pixels,
    reference: Mapping[int, Pixels],
) -> None:
    if rows.shape != clips.shape:
        raise OutputsDiffer(f"{what}: clips of shape {rows.shape}, not {clips.shape}")
    for row, number in zip(rows.ravel(), clips.ravel().tolist(), strict=True):
        if not np.array_equal(frames[row], reference[number]):
            raise OutputsDiffer(f"{what}: frame {number} is not that of a plain decode")


def _best_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise ValueError(f"{path.name} has no video stream")
    return stream


def _rgb(frame: VideoFrame) -> Pixels:
    """Upright, at full size."""
    pixels = np.asarray(frame.to_ndarray(format="rgb24", threads=1), dtype=np.uint8)
    turns = frame.rotation // 90 % 4 if frame.rotation % 90 == 0 else 0
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _resized(pixels: Pixels) -> Pixels:
    height, width = PROTOCOL.resized(*pixels.shape[:2])
    if pixels.shape[:2] == (height, width):
        return pixels
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _unit(path: Path) -> Unit:
    return Unit(path.name, path.name, str(path.resolve()))


def _clock_of(pid: int) -> int | None:
    """The clock of a running process's core time; None on systems that have none."""
    clock = ctypes.c_int()
    try:
        known = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)) == 0
    except AttributeError:
        return None
    return clock.value if known else None
