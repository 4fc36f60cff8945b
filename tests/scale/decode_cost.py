"""Core-seconds of decoding by mode, codec and size: how much exact and fast decoding cost.

    python -m tests.scale.decode_cost /tmp/videos --rounds 5

The videos show scenes of the demo and are made once. Every way of decoding a video is run in each
round, in this process, on one thread; figures are medians over the rounds, with quartiles, of the
ratio to exact decoding of all clips.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from pipeline.inputs.demo.archive import ArchiveSettings, write_video
from pipeline.inputs.demo.scenes import draw_scene, render
from tests import videos
from workers.decoding import DecodeLimits, Unit, planned, pyav
from workers.decoding.job import DecodeJob
from workers.io.fetching import open_source
from workers.sampling import protocol

QUIET, NOISY = 4, 8  # numbers of scenes: a sensor's noise of 1.4 and of 3.8 levels
MADE = {  # encoder, width, height, frames from keyframe to keyframe, scene
    "1080p-60.mp4": ("libx264", 1920, 1080, 60, QUIET),
    "1080p-250.mp4": ("libx264", 1920, 1080, 250, QUIET),
    "256p-250.mp4": ("libx264", 340, 256, 250, NOISY),
    "hevc.mp4": ("libx265", 640, 360, 250, NOISY),
    "mpeg4.mp4": ("mpeg4", 640, 360, 60, NOISY),
    "mpeg2.mp4": ("mpeg2video", 640, 360, 60, NOISY),
}
_OPTIONS = {
    "libx265": {"preset": "fast", "x265-params": "log-level=none"},
    "mpeg4": {"bf": "2", "g": "60", "b": "2000000"},
    "mpeg2video": {"bf": "2", "g": "60", "b": "4000000"},
}


PROTOCOL = protocol("videomae-k400")
ALL, FIRST, SECOND = None, (0,), (1,)


def make(path: Path) -> None:
    """Writes a video of MADE unless it is there."""
    encoder, width, height, gop, number = MADE[path.name]
    if path.exists():
        return
    scene, partial = draw_scene(seed=7, split="test", index=number), path.with_suffix(".part")
    if encoder == "libx264":
        write_video(partial, scene, ArchiveSettings(1, width=width, height=height, gop=gop))
    else:
        with av.open(str(partial), "w", format="mp4") as container:
            stream = container.add_stream(encoder, rate=scene.fps, options=_OPTIONS[encoder])
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in render(scene, width=width, height=height):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    partial.replace(path)


def decode(path: Path, clips: tuple[int, ...] | None, mode: str) -> videos.Pixels:
    """The frames of the clips of these numbers, None for all, decoded in this process."""
    rooms: list[videos.Pixels] = []

    def allocate(shape: tuple[int, ...]) -> videos.Pixels:
        rooms.append(np.empty(shape, dtype=np.uint8))
        return rooms[-1]

    with open_source(str(path)) as source:
        unit = Unit("u", "v", str(path), clips=clips)
        pyav.decode(DecodeJob(source, unit, PROTOCOL, DecodeLimits(), allocate, mode=mode))
    return rooms[-1]


@contextmanager
def every_packet_decoded() -> Iterator[None]:
    """Also the packets of frames that no other frame needs."""
    usual = planned.may_stay_undecoded
    planned.may_stay_undecoded = lambda stream: lambda packet: False
    try:
        yield
    finally:
        planned.may_stay_undecoded = usual


def _undiscarding(path: Path) -> None:
    with every_packet_decoded():
        decode(path, ALL, "exact")


WAYS: dict[str, Callable[[Path], object]] = {
    "exact, all clips": lambda path: decode(path, ALL, "exact"),
    "the same, every packet decoded": _undiscarding,
    "exact, first clip": lambda path: decode(path, FIRST, "exact"),
    "exact, second clip": lambda path: decode(path, SECOND, "exact"),
    "fast, all clips": lambda path: decode(path, ALL, "fast"),
    "fast, first clip": lambda path: decode(path, FIRST, "fast"),
    "fast, second clip": lambda path: decode(path, SECOND, "fast"),
}


def main() -> None:
    """Prints core milliseconds of each way, and its ratio to the first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the videos are made, or were")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", nargs="*", default=list(MADE), choices=list(MADE))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name in asked.videos:
        path = asked.folder / name
        make(path)
        cost: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(asked.rounds):
            for way, run in WAYS.items():
                began = time.process_time()
                run(path)
                cost[way].append(time.process_time() - began)
        first = np.array(cost["exact, all clips"])
        print(f"{name}, {path.stat().st_size / 1e6:.1f} MB")
        for way, found in cost.items():
            low, middle, high = np.quantile(np.array(found) / first, (0.25, 0.5, 0.75))
            milliseconds = 1000 * float(np.median(found))
            print(f"  {way:32} {milliseconds:7.0f} ms  {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
