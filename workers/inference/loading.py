"""Frames of units on their way to the device: through pinned memory, ahead of the model."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workers.inference.streams import Lane, Mark
from workers.inference.views import Frames

# Two: one is written by the host while the other is read by the device.
_STAGINGS = 2


@dataclass
class Memory:
    """Device memory of one unit's frames; `arrived` after they came, `read` after the last use."""

    data: Tensor
    arrived: Mark | None = None
    read: Mark | None = None


@dataclass(frozen=True)
class Loaded:
    """One unit's frames, where the model's lane can read them once it follows `memory.arrived`.

    Attributes:
        frames: uint8 (n, height, width, 3).
        rows: int64 (clips, T), rows of `frames`.
        ids: int64 (views,), numbers of the unit's views, which came with the frames.
        memory: what they lie in, None for memory that nobody waits for.
    """

    frames: Tensor
    rows: Tensor
    ids: Tensor
    memory: Memory | None


class Loader(Protocol):
    """Brings a unit's frames to where the model's lane reads them."""

    def load(self, unit: Frames, ids: npt.NDArray[np.int64]) -> Loaded:
        """A unit's frames under the numbers of its views."""


class DirectLoader:
    """For a model on the CPU: the frames where they are, without a copy."""

    def load(self, unit: Frames, ids: npt.NDArray[np.int64]) -> Loaded:
        """A unit's frames under the numbers of its views."""
        with _read_only_arrays():
            frames = torch.from_numpy(unit.pixels)
        rows = torch.from_numpy(unit.clip_frames.astype(np.int64))
        return Loaded(frames, rows, torch.from_numpy(ids), None)


class StagedLoader:
    """For a device with memory of its own.

    The host writes a unit's ids, rows and pixels side by side into one of two pinned buffers, as
    soon as the transfer that read it last is over. One transfer on a lane of its own brings them
    into one of `units` places on the device, after the last batch that was cut from it.

    Args:
        copies: lane of the transfers.
        units: units whose frames are on the device at once. With those of one batch and one more
            the transfers for a batch run while the batch before is computed.
    """

    def __init__(self, copies: Lane, units: int) -> None:
        self._copies = copies
        self._staging = [Memory(copies.host((1,), torch.uint8)) for _ in range(_STAGINGS)]
        self._places = [Memory(copies.empty(1)) for _ in range(units)]
        self._loads = 0

    def load(self, unit: Frames, ids: npt.NDArray[np.int64]) -> Loaded:
        """A unit's frames under the numbers of its views, underway."""
        rows = unit.clip_frames.astype(np.int64)
        header = np.concatenate([ids, rows.reshape(-1)])
        size = header.nbytes + unit.pixels.nbytes
        staging = self._staged(header, unit.pixels, size)
        place = self._place(size)
        source, target = staging.data[:size], place.data[:size]
        self._copies.run(lambda: _transfer(source, target))
        place.arrived = staging.read = self._copies.mark()
        place.read = None
        self._loads += 1
        numbers = target[: header.nbytes].view(torch.int64)
        return Loaded(
            frames=target[header.nbytes :].view(unit.pixels.shape),
            rows=numbers[len(ids) :].view(rows.shape),
            ids=numbers[: len(ids)],
            memory=place,
        )

    def _staged(
        self, header: npt.NDArray[np.int64], pixels: npt.NDArray[np.uint8], size: int
    ) -> Memory:
        staging = self._staging[self._loads % _STAGINGS]
        if staging.read is not None:
            staging.read.wait()
        if len(staging.data) < size:
            staging.data = self._copies.host((size,), torch.uint8)
        with _read_only_arrays():
            staging.data[: header.nbytes].copy_(torch.from_numpy(header).view(torch.uint8))
            staged = staging.data[header.nbytes : size].view(pixels.shape)
            staged.copy_(torch.from_numpy(pixels))
        return staging

    def _place(self, size: int) -> Memory:
        place = self._places[self._loads % len(self._places)]
        if len(place.data) < size:
            for mark in (place.arrived, place.read):
                if mark is not None:
                    mark.wait()
            place.data = self._copies.empty(size)
        elif place.read is not None:
            self._copies.follow(place.read)
        return place


def _transfer(source: Tensor, target: Tensor) -> None:
    target.copy_(source, non_blocking=True)


@contextlib.contextmanager
def _read_only_arrays() -> Iterator[None]:
    """Silences torch's warning about arrays that cannot be written: nothing here writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        yield
