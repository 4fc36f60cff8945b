"""Core-seconds of decoding by mode, codec and size: how much exact and fast decoding cost.

    python -m tests.scale.decode_cost /tmp/videos --rounds 5

The videos are scenes of the demo, enlarged, with a sensor's noise, and are made once. Every way of
decoding a video is run in each round, in this process, on one thread; figures are medians over the
rounds of the ratio to exact decoding of all clips.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.inputs.demo.scenes import draw_scene, render
from tests import videos
from workers.decoding import DecodeLimits, Unit, planned, pyav
from workers.decoding.job import DecodeJob
from workers.io.fetching import open_source
from workers.sampling import IntArray, Protocol, protocol

FRAMES, RATE = 300, 30
_NOISE = 4.0
_SOFT = {"preset": "medium", "crf": "23"}
MADE: dict[str, tuple[str, tuple[int, int], dict[str, str]]] = {
    "1080p-60.mp4": ("libx264", (1920, 1080), _SOFT | {"g": "60"}),
    "1080p-250.mp4": ("libx264", (1920, 1080), _SOFT | {"g": "250"}),
    "256p-250.mp4": ("libx264", (340, 256), _SOFT | {"g": "250"}),
    "hevc.mp4": ("libx265", (640, 360), {"preset": "fast", "x265-params": "log-level=none"}),
    "mpeg4.mp4": ("mpeg4", (640, 360), {"bf": "2", "g": "60", "b": "2000000"}),
    "mpeg2.mp4": ("mpeg2video", (640, 360), {"bf": "2", "g": "60", "b": "4000000"}),
}


@dataclass(frozen=True)
class _OneClip(Protocol):
    """The frames of the middle clip alone."""

    def clip_indices(self, frame_count: int) -> IntArray:
        return super().clip_indices(frame_count)[self.clips // 2 : self.clips // 2 + 1]


ALL = protocol("videomae-k400")
ONE = _OneClip(ALL.name, ALL.clips, ALL.crops)


def pictures(width: int, height: int) -> Iterator[videos.Pixels]:
    """A scene of the demo, enlarged to cover the picture, with noise."""
    draw = np.random.default_rng(0)
    grain = draw.normal(0, _NOISE, (2 * height, 2 * width, 1)).astype(np.float32)
    scenes = (render(draw_scene(seed=7, split="test", index=n)) for n in range(100))
    frames = (frame for scene in scenes for frame in scene)
    for frame, _ in zip(frames, range(FRAMES), strict=False):
        scale = max(width / frame.shape[1], height / frame.shape[0])
        size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
        large = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
        top, left = (size[1] - height) // 2, (size[0] - width) // 2
        down, across = draw.integers(0, height), draw.integers(0, width)
        picture = large[top : top + height, left : left + width]
        noisy = picture + grain[down : down + height, across : across + width]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def make(path: Path) -> None:
    """Writes a video of MADE unless it is there."""
    encoder, (width, height), options = MADE[path.name]
    if path.exists():
        return
    partial = path.with_suffix(".part")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures(width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    partial.replace(path)


def decode(path: Path, how: Protocol, mode: str) -> videos.Pixels:
    """The frames of the clips of ``how``, decoded in this process."""
    rooms: list[videos.Pixels] = []

    def allocate(shape: tuple[int, ...]) -> videos.Pixels:
        rooms.append(np.empty(shape, dtype=np.uint8))
        return rooms[-1]

    with open_source(str(path)) as source:
        unit = Unit("u", "v", str(path))
        pyav.decode(DecodeJob(source, unit, how, DecodeLimits(), allocate, mode=mode))
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
    "exact, one clip": lambda path: decode(path, ONE, "exact"),
    "fast, all clips": lambda path: decode(path, ALL, "fast"),
    "fast, one clip": lambda path: decode(path, ONE, "fast"),
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
