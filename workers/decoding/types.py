"""What goes into decoding and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.decoding.progress import Work
from workers.io.fetching import is_object

MIB = 1024**2
GIB = 1024**3
DECODERS = ("pyav", "decord")

# What the slowest sound machine manages, by which a limit follows the work: the reading of a disk
# that many share; full HD at 30 frames a second, in real time; and 200 kbit of video in a second,
# which bounds what a small file can claim.
READ_BYTES_A_SECOND = 20e6
PIXELS_A_SECOND = 1920 * 1080 * 30
VIDEO_BYTES_A_SECOND = 25e3


@dataclass(frozen=True)
class DecodeLimits:
    """What one unit may cost before it becomes a failure row.

    ``seconds``: wall clock for one attempt at decoding, and the longest that one may go on without
    a sign of life. ``most_seconds``: what it may grow to with the size of the file and the number
    of frames that must be decoded; see `attempt_seconds`.
    ``fetch_seconds``: wall clock, on top of it, that fetching from an object storage may take, its
    waits and repetitions included.
    ``memory_bytes``: address space that decoding may take on top of the idle child's.
    ``videos_per_child`` and ``rss_bytes``: when a child has served so many units, or holds so much
    resident memory after one, a fresh one takes its place.
    ``max_pixels``: width x height of a frame; the default is the largest 8K format.
    ``output_bytes``: the resized frames of one unit; only extreme aspect ratios come near it.
    ``source_bytes``: the size of a file or object.
    """

    seconds: float = 60.0
    most_seconds: float = 3600.0
    fetch_seconds: float = 120.0
    memory_bytes: int = 4 * GIB
    videos_per_child: int = 1000
    rss_bytes: int = 1536 * MIB
    max_pixels: int = 8192 * 4320
    output_bytes: int = GIB
    source_bytes: int = 64 * GIB

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")

    def attempt_seconds(self, uri: str, work: Work = Work()) -> float:  # noqa: B008 - frozen
        """Wall clock for one attempt at ``work`` on what lies at ``uri``.

        ``seconds``, and on top of them what a slow machine needs to read the file and to decode its
        frames. The bytes of the file bound what the number and size of its frames can ask for.
        """
        decoding = work.size / VIDEO_BYTES_A_SECOND
        if work.frames is not None:
            decoding = min(decoding, work.frames * work.pixels / PIXELS_A_SECOND)
        whole = self.seconds + work.size / READ_BYTES_A_SECOND + decoding
        own = max(self.seconds, min(whole, self.most_seconds))
        return own + (self.fetch_seconds if is_object(uri) else 0.0)


@dataclass(frozen=True)
class Unit:
    """One row of the manifest: a video, or the segment [start_s, end_s) of it in seconds.

    ``etag``: the ETag that the object had when it was listed; another one is not read. None for
    whatever there is.
    """

    unit_id: str
    video_id: str
    uri: str
    start_s: float | None = None
    end_s: float | None = None
    etag: str | None = None


@dataclass(frozen=True)
class Measured:
    """How long a video is: ``duration_s``, from its first frame to the end of its last one.

    ``bytes_read`` and ``decode_ms`` (CPU milliseconds) are what finding out cost.
    """

    duration_s: float
    bytes_read: int
    decode_ms: float


@dataclass
class DecodedUnit:
    """The frames of one unit.

    ``frames``: uint8 (n, height, width, 3), RGB, resized as the protocol says; every distinct
    wanted frame once, in ascending order. ``clip_frames``: int32 (clips, T), rows of ``frames``.
    ``clip_times``: float64 (clips, 2), seconds from the video's first frame to the clip's first and
    to its last frame. ``first_clip``: number in the video of the unit's first clip, 0 unless the
    protocol is a timeline. ``frame_count`` and ``duration_s`` are those of the whole video, counted
    and taken from timestamps; for a unit of a timeline those of its segment. ``lost_frames``:
    frames that damage cost or that the decoder had to patch up; 0 for a sound file, an estimate
    where a file was cut off. ``decode_ms``: CPU milliseconds of the child. ``attempts``: 2 where a
    first decoder died. ``etag``: of the object that was read, None for files.
    """

    unit: Unit
    frames: npt.NDArray[np.uint8]
    clip_frames: npt.NDArray[np.int32]
    clip_times: npt.NDArray[np.float64]
    frame_count: int
    duration_s: float
    lost_frames: int
    decode_ms: float
    bytes_read: int
    attempts: int
    first_clip: int = 0
    etag: str | None = None
