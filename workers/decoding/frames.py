"""Decoded frames: converted to upright RGB and resized into memory shared with the parent."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from workers.decoding import colors
from workers.decoding.colors import Pixels
from workers.failures import ErrorType, UnitFailure
from workers.sampling import Protocol

Allocate = Callable[[tuple[int, int, int, int]], Pixels]

cv2.setNumThreads(1)


class FrameStore:
    """Memory for ``count`` resized frames, allocated when the size of the first is known.

    With ``growing``, ``count`` is an estimate, and the store grows as frames are placed.
    ``allocate`` gives an uint8 array of the shape (frames, height, width, 3).
    """

    def __init__(
        self,
        count: int,
        protocol: Protocol,
        allocate: Allocate,
        *,
        output_bytes: int,
        growing: bool = False,
    ) -> None:
        self._count = count
        self._growing = growing
        self._protocol = protocol
        self._allocate = allocate
        self._output_bytes = output_bytes
        self._pixels: Pixels | None = None
        self._filled: set[int] = set()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, 3) of what was allocated."""
        if self._pixels is None:
            raise ValueError("no frame was placed yet")
        count, height, width, _ = self._pixels.shape
        return len(self._filled) if self._growing else count, height, width, 3

    @property
    def complete(self) -> bool:
        """Whether every frame came."""
        return len(self._filled) == self._count

    def place(self, row: int, rgb: Pixels) -> None:
        """Resize ``rgb`` (height, width, 3), full size, into place ``row``.

        All frames take the target of the first, whatever size the stream changes to: bilinear
        without antialiasing, as the published evaluations resize (OpenCV's INTER_LINEAR).
        """
        if self._pixels is None:
            height, width = self._protocol.resized(rgb.shape[0], rgb.shape[1])
            self._pixels = self._make_room(height, width)
        if self._growing and row >= self._count:
            before, self._count = self._pixels, 2 * self._count
            self._pixels = self._make_room(before.shape[1], before.shape[2])
            self._pixels[: len(before)] = before
        target = self._pixels[row]
        if target.shape == rgb.shape:
            target[...] = rgb
        else:
            size = (target.shape[1], target.shape[0])
            cv2.resize(rgb, size, dst=target, interpolation=cv2.INTER_LINEAR)
        self._filled.add(row)

    def _make_room(self, height: int, width: int) -> Pixels:
        shape = (self._count, height, width, 3)
        if self._count * height * width * 3 > self._output_bytes:
            raise UnitFailure(
                ErrorType.too_large,
                f"{self._count} resized frames of {width} x {height} pixels exceed the limit of "
                f"{self._output_bytes >> 20} MiB",
            )
        return self._allocate(shape)


class RgbConverter:
    """Converts the frames of one video to upright RGB."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, frame: VideoFrame) -> Pixels:
        """uint8 (height, width, 3), full size, turned as the file's display matrix says.

        Raises UnitFailure where its colors cannot be converted.
        """
        pixels = colors.rgb(frame, self._reformatter)
        turns, rest = divmod(frame.rotation, 90)
        if rest or not turns % 4:
            return pixels
        return np.ascontiguousarray(np.rot90(pixels, turns % 4))
