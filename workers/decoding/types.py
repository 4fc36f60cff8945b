"""The input and output of decoding: Unit, DecodeLimits, DecodedUnit, Measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.decoding.progress import DecodeWork
from workers.failures import ErrorType, UnitFailure

MIB = 1024**2
GIB = 1024**3
NVDEC = "nvdec"
DECODERS = ("pyav", "decord", NVDEC)
DECODE_MODES = ("exact", "fast")  # whether frames are those of a full decode, to the bit
OPENCV_NO_MEMORY = -4  # code of an OpenCV error

# More segments than this have recordings with wrong timestamps, unless --max-units-per-video is
# larger.
MOST_UNITS = 100_000

# Rates of a slow but sound machine, from which time limits follow: reading a disk that many share;
# decoding full HD at 30 frames a second; and 200 kbit/s of video, which bounds the number of frames
# that a small file can claim.
READ_BYTES_A_SECOND = 20e6
PIXELS_A_SECOND = 1920 * 1080 * 30
VIDEO_BYTES_A_SECOND = 25e3

# Pixels that may be decoded for a file: so many, and so many for each of its bytes. A minute of
# full HD at 30 frames a second may hold anything; a longer one needs 104 bytes a frame, which an
# unchanging picture takes. The most is what a slow machine decodes in the longest time limit.
MOST_PIXELS = 60 * PIXELS_A_SECOND
MOST_PIXELS_A_BYTE = 20_000.0

# A first attempt is short, so that other files do not wait: what exceeds these waits for the end.
# Real videos have some 100 pixels for each byte, and up to 1,700 if nothing moves in them.
QUICK_SECONDS = 10.0
QUICK_PIXELS = 4 * PIXELS_A_SECOND
QUICK_PIXELS_A_BYTE = PIXELS_A_SECOND / VIDEO_BYTES_A_SECOND


@dataclass(frozen=True)
class DecodeLimits:
    """Limits for decoding one unit; a unit that exceeds one becomes a failure row.

    ``seconds``: wall clock of one attempt, and the longest time without progress.
    ``most_seconds``: maximum of the wall clock, which grows with the size of the file and the
    number of frames to decode; see `attempt_seconds`.
    ``fetch_seconds``: wall clock for fetching from object storage before or while a video is
    decoded, retries included.
    ``small_memory_bytes``: address space beyond that of the idle child, as a rule.
    ``memory_bytes``: the same for pictures so large that they need more, and for a second attempt
    after running out of it, but at most a quarter of the machine's memory. ``large_slots``: how
    many decoders of a machine may have so much at a time.
    ``videos_per_child``, ``rss_bytes``: a child that served so many units, or holds so much
    resident memory after one, is replaced.
    ``max_pixels``: width x height of a frame; the default is the largest 8K format.
    ``output_bytes``: the resized frames of one unit; only extreme aspect ratios come near it.
    ``source_bytes``: the size of a file or object.
    ``max_units``: segments of a recording; None for what its frames can fill, see `segment_count`.
    ``allow_codecs``: codecs that are decoded besides the usual ones.
    ``quick``: whether this is a first, short attempt; what exceeds it fails as ``deferred``.
    ``private_hosts``: whether https:// videos may be of private hosts, see `sta.transport.web`.
    ``require_sandbox``: whether a decoder refuses to start where the kernel lacks a part of the
    sandbox.
    """

    seconds: float = 60.0
    most_seconds: float = 3600.0
    fetch_seconds: float = 120.0
    small_memory_bytes: int = 384 * MIB
    memory_bytes: int = 4 * GIB
    large_slots: int = 1
    videos_per_child: int = 1000
    rss_bytes: int = 1536 * MIB
    max_pixels: int = 8192 * 4320
    output_bytes: int = GIB
    source_bytes: int = 64 * GIB
    max_units: int | None = None
    allow_codecs: tuple[str, ...] = ()
    quick: bool = False
    require_sandbox: bool = False
    private_hosts: bool = False

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")

    def attempt_seconds(self, work: DecodeWork) -> float:
        """Wall clock for one attempt to decode a fetched video, which is so much ``work``.

        It is ``seconds``, plus the time that a slow machine takes to read the file and decode its
        frames. The size of the file bounds the time for its frames.
        """
        decoding = work.size / VIDEO_BYTES_A_SECOND
        if work.frames is not None:
            decoding = min(decoding, work.frames * work.pixels / PIXELS_A_SECOND)
        base = min(QUICK_SECONDS, self.seconds) if self.quick else self.seconds
        whole = base + work.size / READ_BYTES_A_SECOND + decoding
        return max(base, min(whole, self.most_seconds))

    def check(self, work: DecodeWork) -> None:
        """Raise UnitFailure where more pixels are to be decoded than the bytes of a file justify.

        ``seconds`` beyond the default raises the limit in proportion.
        """
        if work.frames is None:
            return
        pixels = work.frames * work.pixels
        most = MOST_PIXELS + work.size * MOST_PIXELS_A_BYTE
        most *= max(1.0, self.seconds / DecodeLimits.seconds)
        task = (
            f"{work.frames:,} frames of {work.pixels:,} pixels must be decoded, in a file of "
            f"{work.size:,} bytes"
        )
        if pixels > most:
            raise UnitFailure(
                ErrorType.too_large,
                f"{task}; the limit for this size is {most / work.pixels:,.0f} frames, which "
                "--decode-timeout raises in proportion",
            )
        if self.quick and pixels > QUICK_PIXELS + work.size * QUICK_PIXELS_A_BYTE:
            raise UnitFailure(ErrorType.deferred, f"{task}; it is decoded at the end of the run")


@dataclass(frozen=True)
class Unit:
    """One row of the manifest: a video, or the segment [start_s, end_s) of it in seconds.

    ``etag``: the ETag of the object when it was listed; an object with another ETag is not read.
    None to read any. ``part``: where the video lies within ``uri``, see `workers.io.parts`; None if
    ``uri`` is the video. ``clips``: ascending numbers of the protocol's clips that are wanted; None
    for all, as always with a dense protocol.
    """

    unit_id: str
    video_id: str
    uri: str
    start_s: float | None = None
    end_s: float | None = None
    etag: str | None = None
    part: str | None = None
    clips: tuple[int, ...] | None = None

    @property
    def file(self) -> str:
        """What a file's costs are counted for: the video, not the archive that it lies in."""
        return self.uri if self.part is None else f"{self.uri}#{self.part}"


def reads_a_part(unit: Unit, mode: str) -> bool:
    """Whether only a part of a video's bytes may be read, where its index allows that.

    An index tells that there is a packet, and not whether it holds a frame: frames of an odd file
    are then numbered otherwise than in a decode from the start. ``exact`` reads every packet.
    """
    return mode == "fast" and unit.clips is not None


@dataclass(frozen=True)
class Measured:
    """The duration of a video, ``duration_s``: from its first frame to the end of its last.

    ``bytes_read`` and ``decode_ms`` (CPU milliseconds): the cost of measuring it.
    """

    duration_s: float
    bytes_read: int
    decode_ms: float


@dataclass
class DecodedUnit:
    """The frames of one unit.

    ``frames``: uint8 (n, height, width, 3), RGB, resized as the protocol says; every distinct
    wanted frame once, in ascending order. ``clip_frames``: int32 (clips, T), rows of ``frames``.
    ``clips``: ascending numbers of these clips in the protocol, those of the unit and perhaps more;
    None for all.
    ``clip_times``: float64 (clips, 2), seconds from the video's first frame to the clip's first and
    to its last frame. ``first_clip``: number in the video of the unit's first clip, 0 unless the
    protocol is dense. ``frame_count`` and ``duration_s`` are those of the whole video, counted
    and taken from timestamps; with a dense protocol those of the segment. ``lost_frames``:
    frames lost to damage or concealed by the decoder; 0 for a sound file, an estimate
    where a file was cut off. ``decode_ms``: CPU milliseconds of the child;
    the fetching is the parent's. ``attempts``: 2 after a
    crash of the first. ``etag``: of the object that was read, None for files.
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
    clips: tuple[int, ...] | None = None
