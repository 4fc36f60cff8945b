"""The wanted frames of a folder of pictures, as a decoder's child gets them."""

from __future__ import annotations

from dataclasses import dataclass

from workers.io.content import Source

FPS = (0.001, 1e6)
"""Least and largest number of frames a second of a folder, so that times and clips are counts."""


@dataclass(frozen=True)
class FrameTable:
    """Where the wanted frames of a folder lie in the file that a decoder's child gets.

    Attributes:
        fps: frames a second.
        count: frames of the video, missing ones included.
        lost: missing and empty ones in the unit.
        spans: (index, offset, size) of each wanted frame that could be read.
    """

    fps: float
    count: int
    lost: int
    spans: list[tuple[int, int, int]]


@dataclass(frozen=True)
class FrameSource(Source):
    """The wanted frames of a folder, one behind the other in a file."""

    table: FrameTable = FrameTable(1.0, 0, 0, [])
