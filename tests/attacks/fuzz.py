"""Mutates videos of every container and decodes them: no mutant may crash, hang or lie.

    python -m tests.attacks.fuzz --minutes 10 --seed 1
    python -m tests.attacks.fuzz --minutes 10 --seed 1 --videos DIR --keep FOUND

It writes a small video in each container, and takes those of DIR besides. Every mutant is decoded
twice, each time after another mutant, and both results must be equal. What crashes, hangs, differs
or raises is counted, and kept under its number in FOUND. The exit code is 1 if there is any. The
same seed makes the same mutants.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.workers import codec_videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)
LIMITS = DecodeLimits(seconds=10, most_seconds=20)
MOST_BYTES = 1 << 20
BAD = ("crashed", "timeout", "internal", "differs", "raises")

CONTAINERS = {
    "mp4": "libx264", "mov": "mpeg4", "matroska": "libx265", "webm": "libvpx-vp9", "avi": "mpeg4",
    "mpegts": "libx264", "mpeg": "mpeg2video", "flv": "flv", "asf": "wmv2", "ogg": "libvpx",
    "mxf": "mpeg2video", "nut": "ffv1", "ivf": "libvpx", "3gp": "h263", "dv": "dvvideo",
    "mjpeg": "mjpeg", "h264": "libx264", "hevc": "libx265", "obu": "libsvtav1", "wtv": "mpeg2video",
}  # fmt: skip
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Mutation = Callable[[bytearray, random.Random], None]


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 16, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _extreme(data: bytearray, chance: random.Random) -> None:
    """Sizes and counts stand near the start, or near the end where an index is."""
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice(_EXTREMES) & ((1 << 8 * width) - 1)
    near = chance.choice((256, 4096, len(data)))
    at = chance.randrange(max(1, min(near, len(data)) - width))
    at = at if chance.random() < 0.5 else max(0, len(data) - width - at)
    data[at : at + width] = value.to_bytes(width, chance.choice(("big", "little")))


def _erase(data: bytearray, chance: random.Random) -> None:
    start, count = _part(data, chance)
    data[start : start + count] = bytes([chance.choice((0, 0xFF))]) * count


def _remove(data: bytearray, chance: random.Random) -> None:
    start, count = _part(data, chance)
    del data[start : start + min(count, len(data) - 1)]


def _repeat(data: bytearray, chance: random.Random) -> None:
    start, count = _part(data, chance)
    data[start:start] = data[start : start + count]


def _move(data: bytearray, chance: random.Random) -> None:
    start, count = _part(data, chance)
    piece = data[start : start + count]
    to = chance.randrange(len(data))
    data[to : to + len(piece)] = piece


def _cut_off(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data) + 1) :]


def _noise(data: bytearray, chance: random.Random) -> None:
    start, count = _part(data, chance)
    data[start : start + count] = chance.randbytes(count)


MUTATIONS: tuple[Mutation, ...] = (
    _flip, _extreme, _extreme, _erase, _remove, _repeat, _move, _cut_off, _noise,
)  # fmt: skip


def _part(data: bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(chance.choice((1, 8, 64, 512, 4096, 32768)), len(data) - start)


def originals(folder: Path, videos: Path | None) -> dict[str, bytes]:
    """The videos to mutate, by name: one per container, and those of ``videos``."""
    found = {}
    for muxer, encoder in CONTAINERS.items():
        path = folder / f"original.{muxer}"
        codec_videos.write(path, muxer, encoder, codec_videos.OPTIONS.get(encoder, [{}])[0])
        found[muxer] = path.read_bytes()
    for path in sorted(videos.rglob("*")) if videos else ():
        if path.is_file() and 0 < path.stat().st_size <= MOST_BYTES:
            found[str(path.relative_to(videos or path))] = path.read_bytes()
    return found


def mutants(originals: dict[str, bytes], seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of mutants, without end; each by a generator of its own number."""
    names = sorted(originals)
    number = 0
    while True:
        chance = random.Random(f"{seed} {number}")
        name = names[number % len(names)]
        data = bytearray(originals[name])
        for _ in range(chance.choice((1, 1, 2, 4))):
            chance.choice(MUTATIONS)(data, chance)
        yield f"{number}-{Path(name).name}", bytes(data)
        number += 1


def outcome(one: object, other: object) -> str:
    """What two decodes of a mutant gave: "ok", the reason of the failure, or one of BAD."""
    if isinstance(one, UnitFailure) and isinstance(other, UnitFailure):
        for failure in (one, other):
            if failure.error_type in (ErrorType.crashed, ErrorType.timeout, ErrorType.internal):
                return str(failure.error_type)
        return str(one.error_type) if str(one) == str(other) else "differs"
    if isinstance(one, DecodedUnit) and isinstance(other, DecodedUnit):
        same = (
            np.array_equal(one.frames, other.frames)
            and np.array_equal(one.clip_frames, other.clip_frames)
            and np.array_equal(one.clip_times, other.clip_times)
            and one.frame_count == other.frame_count
            and one.lost_frames == other.lost_frames
        )
        return "ok" if same else "differs"
    return "differs"


def fuzz(
    originals: dict[str, bytes],
    *,
    seed: int,
    folder: Path,
    keep: Path | None = None,
    seconds: float = float("inf"),
    count: int = sys.maxsize,
) -> Counter[str]:
    """Outcomes of ``count`` mutants, or of as many as ``seconds`` allow."""
    counts: Counter[str] = Counter()
    path, until = folder / "mutant", time.monotonic() + seconds
    with SandboxedDecoder(PROTOCOL, limits=LIMITS) as first, SandboxedDecoder(PROTOCOL) as second:
        for _, (name, data) in zip(range(count), mutants(originals, seed), strict=False):
            if time.monotonic() > until:
                break
            path.write_bytes(data)
            unit = Unit(name, name, str(path))
            try:
                result = outcome(first.decode(unit), second.decode(unit))
            except Exception as error:
                result = "raises"
                print(f"{name}: {type(error).__name__}: {error}")
            counts[result] += 1
            if result in BAD and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{result}-{name}").write_bytes(data)
    return counts


def main() -> int:
    """Prints the counts; 1 if a mutant crashed, hung or gave a wrong row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, metavar="M")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="videos to mutate besides")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where bad mutants are kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = originals(Path(folder), asked.videos)
        counts = fuzz(
            found,
            seed=asked.seed,
            folder=Path(folder),
            keep=asked.keep,
            seconds=60 * asked.minutes,
        )
    bad = sum(counts[name] for name in BAD)
    print(f"{sum(counts.values()):,} mutants of {len(found)} videos, seed {asked.seed}; {bad} bad")
    for name, number in counts.most_common():
        print(f"  {name:20} {number:,}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
