"""Fetches the wanted frames of a folder of pictures, before a child decodes them (`images`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from workers.decoding.frame_sample import sampled
from workers.decoding.types import DecodeLimits, Measured, Unit
from workers.io.frame_folder import FrameFolder, open_frames
from workers.io.frame_table import FrameSource, FrameTable
from workers.sampling import Protocol


@contextmanager
def open_folder(
    folder: FrameFolder, unit: Unit, protocol: Protocol, limits: DecodeLimits
) -> Iterator[FrameSource]:
    """The wanted frames of a unit; raises UnitFailure."""
    frames = folder.listed(unit.uri, seconds=limits.fetch_seconds)
    sample = sampled(frames.count, folder.fps, unit, protocol)
    lost = sum(index not in frames.names for index in range(sample.first, sample.last))
    table = FrameTable(folder.fps, frames.count, lost, [])
    wanted = np.unique(sample.clips).tolist()
    with open_frames(unit.uri, frames, wanted, table, seconds=limits.fetch_seconds) as source:
        yield source


def measured(folder: FrameFolder, unit: Unit, limits: DecodeLimits) -> Measured:
    """The duration of a folder of frames; raises UnitFailure."""
    frames = folder.listed(unit.uri, seconds=limits.fetch_seconds)
    return Measured(frames.count / folder.fps, 0, 0.0)
