"""Generated videos whose load on a decoder is like that of real recordings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT, RATE = 340, 256, 30

_SCENE_S = 8.0
_MARGIN = 96
_OBJECTS = 3
_PERIODS = np.array([40.0, 55.0])
_NOISE = 4.0


def write_clip(path: Path, *, seconds: float, b_frames: bool = True) -> Path:
    """An H.264 file of 340 x 256 pixels and 30 frames a second, by x264's default settings.

    Every eight seconds another scene begins: a cloudy texture before a camera that wanders,
    objects that cross it, and a sensor's noise. Without ``b_frames`` every frame is referred to by
    the next, as cameras and streaming encoders have it.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if not b_frames:
            stream.options = {"bf": "0"}
        for picture in _pictures(round(seconds * RATE), np.random.default_rng(0)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _pictures(count: int, draw: np.random.Generator) -> Iterator[Pixels]:
    scene = round(_SCENE_S * RATE)
    for first in range(0, count, scene):
        yield from _scene(min(scene, count - first), draw)


def _scene(count: int, draw: np.random.Generator) -> Iterator[Pixels]:
    background = _clouds(HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN, draw)
    objects = [_clouds(64, 64, draw) for _ in range(_OBJECTS)]
    speeds = draw.uniform(0.5, 3.0, (_OBJECTS, 2))
    phases = draw.uniform(0, 2 * math.pi, 2)
    grain = draw.normal(0, _NOISE, (2 * HEIGHT, 2 * WIDTH, 1)).astype(np.float32)
    for number in range(count):
        x, y = _MARGIN * (1 + 0.9 * np.sin(phases + number / _PERIODS))
        camera = np.array([[1, 0, -x], [0, 1, -y]], dtype=np.float32)
        picture = cv2.warpAffine(background, camera, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        for texture, speed in zip(objects, speeds, strict=True):
            left = int(abs(speed[0] * number * 2) % (WIDTH - 64))
            top = int(abs(speed[1] * number) % (HEIGHT - 64))
            picture[top : top + 64, left : left + 64] = texture
        down, across = draw.integers(0, HEIGHT), draw.integers(0, WIDTH)
        picture = picture + grain[down : down + HEIGHT, across : across + WIDTH]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _clouds(height: int, width: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Noise at all scales, the coarse ones the strongest, as in natural pictures: 0 to 255."""
    total = np.zeros((height, width, 3), dtype=np.float32)
    for cell in (2, 4, 8, 16, 32, 64):
        shape = (height // cell + 2, width // cell + 2, 3)
        coarse = draw.normal(0, cell**0.7, shape).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low) * 255, dtype=np.float32)
