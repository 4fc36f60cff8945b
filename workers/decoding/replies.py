"""What a decoder's child process answers, believed only where it can be true.

A video may have taken the child over. A message that has other fields, types or values than a
sound child can send for this unit raises BadReply.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from workers.decoding.ipc import Message
from workers.decoding.plan import MOST_CLIPS, MOST_SECONDS
from workers.decoding.progress import DecodeWork
from workers.decoding.restrictions import PARTS
from workers.decoding.result import Decoded
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure, one_line
from workers.sampling import Protocol

LONGEST_READ = 1 << 18  # a block of RangedObject
_MOST = 1 << 62
_MOST_FRAMES = 1 << 40

# Fetching happens in the parent, so a child cannot know of the other reasons.
_CHILD_ERRORS = frozenset(
    {
        ErrorType.forbidden,
        ErrorType.unavailable,
        ErrorType.not_video,
        ErrorType.no_video_stream,
        ErrorType.corrupt,
        ErrorType.too_short,
        ErrorType.too_large,
        ErrorType.unsupported_codec,
        ErrorType.timeout,
        ErrorType.deferred,
        ErrorType.out_of_memory,
        ErrorType.internal,
    }
)

_Value = TypeVar("_Value")


class BadReply(Exception):  # noqa: N818 - an answer, not an error of this process
    """The child sent what no sound child sends."""


def started(message: Message) -> list[str]:
    """The parts of the sandbox that the kernel lacks; raises RuntimeError with the child's reason
    where it could not start.
    """
    if set(message) == {"error"}:
        raise RuntimeError(one_line(_typed(message, "error", str)))
    missing = _typed(_fields(message, {"missing"}), "missing", list)
    if not all(part in PARTS for part in missing):
        raise BadReply("unknown parts of the sandbox")
    return missing


def work(message: Message, *, size: int, limits: DecodeLimits) -> DecodeWork:
    """The work that a unit of ``size`` bytes turned out to be."""
    told = _fields(_typed(message, "work", dict), {"frames", "pixels"})
    frames = None if told["frames"] is None else _integer(told, "frames", _MOST_FRAMES)
    return DecodeWork(size, frames, _integer(told, "pixels", limits.max_pixels))


def wanted_range(message: Message, *, size: int) -> tuple[int, int]:
    """(offset, count) of the bytes that the child asks for."""
    wanted = _fields(_typed(message, "read", dict), {"offset", "count"})
    return _integer(wanted, "offset", size), _integer(wanted, "count", LONGEST_READ)


def costs(message: Message) -> tuple[int, float]:
    """(bytes read from the file, CPU milliseconds) of an answer."""
    return _integer(message, "bytes_read", _MOST), _number(message, "decode_ms", 1e12)


def failure(message: Message) -> UnitFailure | None:
    """The failure that an answer carries, if any."""
    if "failure" not in message:
        return None
    told = _fields(_typed(message, "failure", dict), {"type", "message"})
    kind = _typed(told, "type", str)
    if kind not in _CHILD_ERRORS:
        raise BadReply("an unknown reason of failure")
    return UnitFailure(ErrorType(kind), _typed(told, "message", str))


def measured(message: Message) -> float:
    """Seconds of the video."""
    return _number(message, "measured", MOST_SECONDS)


def decoded(message: Message, unit: Unit, protocol: Protocol, limits: DecodeLimits) -> Decoded:
    """Indices and times of the frames of ``unit``, whose pixels lie in the shared memory."""
    names = set(Decoded.__dataclass_fields__)
    told = _fields(_typed(message, "decoded", dict), names)
    first = _integer(told, "first_clip", _MOST_FRAMES)
    clips = _typed(told, "clip_frames", list)
    numbers = _numbers(told["clips"], unit, protocol)
    shape = _shape(_typed(told, "shape", list), protocol, limits)
    _check_clips(len(clips), first, numbers, unit, protocol)
    return Decoded(
        shape=shape,
        clip_frames=_clip_frames(clips, protocol, frames=shape[0]),
        clip_times=_clip_times(_typed(told, "clip_times", list), clips=len(clips)),
        frame_count=_integer(told, "frame_count", _MOST_FRAMES),
        duration_s=_number(told, "duration_s", MOST_SECONDS),
        lost_frames=_integer(told, "lost_frames", _MOST_FRAMES),
        first_clip=first,
        clips=numbers,
    )


def _shape(shape: list[Any], protocol: Protocol, limits: DecodeLimits) -> tuple[int, int, int, int]:
    if len(shape) != 4 or not all(type(side) is int and side > 0 for side in shape):
        raise BadReply("the shape of the frames is none")
    count, height, width, channels = shape
    if channels != 3 or min(height, width) != protocol.short_side:
        raise BadReply("the frames have another size than was asked for")
    if count * height * width * channels > limits.output_bytes:
        raise BadReply("more frames than the limit allows")
    return count, height, width, channels


def _numbers(numbers: Any, unit: Unit, protocol: Protocol) -> tuple[int, ...] | None:
    if numbers is None:
        return None
    if (
        protocol.every_s is not None
        or type(numbers) is not list
        or not all(type(number) is int for number in numbers)
    ):
        raise BadReply("the numbers of the clips are none")
    wanted = set(range(protocol.clips) if unit.clips is None else unit.clips)
    if not wanted <= set(numbers) <= set(range(protocol.clips)) or numbers != sorted(set(numbers)):
        raise BadReply("other clips than were asked for")
    return None if len(numbers) == protocol.clips else tuple(numbers)


def _check_clips(
    count: int, first: int, numbers: tuple[int, ...] | None, unit: Unit, protocol: Protocol
) -> None:
    if protocol.every_s is None:
        if count != (protocol.clips if numbers is None else len(numbers)) or first:
            raise BadReply("another number of clips than was asked for")
        return
    start_s = unit.start_s or 0.0
    end_s = MOST_SECONDS if unit.end_s is None else unit.end_s
    allowed = protocol.clip_numbers(start_s, end_s)
    if first != allowed.start or not 1 <= count <= min(len(allowed), MOST_CLIPS):
        raise BadReply("other clips than were asked for")


def _clip_frames(clips: list[Any], protocol: Protocol, *, frames: int) -> np.ndarray:
    for clip in clips:
        if type(clip) is not list or len(clip) != protocol.frames:
            raise BadReply("a clip has another number of frames than was asked for")
        if not all(type(row) is int and 0 <= row < frames for row in clip):
            raise BadReply("a clip names a frame that is not there")
    return np.array(clips, dtype=np.int64)


def _clip_times(times: list[Any], *, clips: int) -> np.ndarray:
    if len(times) != clips:
        raise BadReply("a clip has no times")
    for pair in times:
        if type(pair) is not list or len(pair) != 2:
            raise BadReply("a clip has no times")
        if not all(type(time) in (int, float) and 0 <= time <= MOST_SECONDS for time in pair):
            raise BadReply("a clip has impossible times")
        if pair[0] > pair[1]:
            raise BadReply("a clip ends before it starts")
    return np.array(times, dtype=np.float64)


def _fields(told: dict[str, Any], names: set[str]) -> dict[str, Any]:
    if set(told) != names:
        raise BadReply("other fields than a message has")
    return told


def _typed(told: dict[str, Any], name: str, kind: type[_Value]) -> _Value:
    value = told.get(name)
    if type(value) is not kind:
        raise BadReply(f"{name} is of another type")
    return value


def _integer(told: dict[str, Any], name: str, most: int) -> int:
    value = _typed(told, name, int)
    if not 0 <= value <= most:
        raise BadReply(f"{name} is out of range")
    return value


def _number(told: dict[str, Any], name: str, most: float) -> float:
    value: Any = told.get(name)
    if type(value) not in (int, float) or not 0 <= value <= most:
        raise BadReply(f"{name} is out of range")
    return float(value)
