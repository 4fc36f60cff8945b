"""Transfer of units' frames to the device: through pinned memory, ahead of the model."""

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

from workers.inference.streams import Event, Stream
from workers.inference.views import Frames

# Two: the host writes one while the device reads the other.
_PINNED_BUFFERS = 2


@dataclass
class Buffer:
    """Memory for one unit's frames, and the events after it was last written and last read."""

    data: Tensor
    written: Event | None = None
    read: Event | None = None


@dataclass(frozen=True)
class Loaded:
    """One unit's frames, which the model's stream can read once it waited for `buffer.written`.

    Attributes:
        frames: uint8 (n, height, width, 3).
        rows: int64 (clips, T), rows of `frames`.
        ids: int64 (views,), numbers of the unit's views, which came with the frames.
        buffer: the device memory that holds them; None for memory that is not used again.
    """

    frames: Tensor
    rows: Tensor
    ids: Tensor
    buffer: Buffer | None


class Loader(Protocol):
    """Brings a unit's frames to where the model's stream reads them."""

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

    The host writes a unit's ids, rows and pixels side by side into one of two pinned buffers, once
    the last transfer from that buffer is done. One transfer, on a stream of its own, copies them
    into one of the device buffers, once the model's stream has cut the last view from it.

    Args:
        stream: where the transfers run.
        units: device buffers, each for one unit. With a batch's units and one more, the transfers
            for a batch run while the batch before is computed.
    """

    def __init__(self, stream: Stream, units: int) -> None:
        self._stream = stream
        self._pinned = [
            Buffer(stream.empty_host((1,), torch.uint8)) for _ in range(_PINNED_BUFFERS)
        ]
        self._buffers = [Buffer(stream.empty(1)) for _ in range(units)]
        self._loads = 0

    def load(self, unit: Frames, ids: npt.NDArray[np.int64]) -> Loaded:
        """A unit's frames under the numbers of its views; returns before the transfer is done."""
        rows = unit.clip_frames.astype(np.int64)
        header = np.concatenate([ids, rows.reshape(-1)])
        size = header.nbytes + unit.pixels.nbytes
        pinned = self._write_pinned(header, unit.pixels, size)
        buffer = self._free_buffer(size)
        source, target = pinned.data[:size], buffer.data[:size]
        self._stream.run(lambda: target.copy_(source, non_blocking=True))
        buffer.written = pinned.read = self._stream.record_event()
        buffer.read = None
        self._loads += 1
        numbers = target[: header.nbytes].view(torch.int64)
        return Loaded(
            frames=target[header.nbytes :].view(unit.pixels.shape),
            rows=numbers[len(ids) :].view(rows.shape),
            ids=numbers[: len(ids)],
            buffer=buffer,
        )

    def _write_pinned(
        self, header: npt.NDArray[np.int64], pixels: npt.NDArray[np.uint8], size: int
    ) -> Buffer:
        pinned = self._pinned[self._loads % _PINNED_BUFFERS]
        if pinned.read is not None:
            pinned.read.synchronize()
        if len(pinned.data) < size:
            pinned.data = self._stream.empty_host((size,), torch.uint8)
        with _read_only_arrays():
            pinned.data[: header.nbytes].copy_(torch.from_numpy(header).view(torch.uint8))
            copied = pinned.data[header.nbytes : size].view(pixels.shape)
            copied.copy_(torch.from_numpy(pixels))
        return pinned

    def _free_buffer(self, size: int) -> Buffer:
        """The next device buffer; the stream will wait for the last read of it."""
        buffer = self._buffers[self._loads % len(self._buffers)]
        if len(buffer.data) < size:
            for event in (buffer.written, buffer.read):
                if event is not None:
                    event.synchronize()
            buffer.data = self._stream.empty(size)
        elif buffer.read is not None:
            self._stream.wait_event(buffer.read)
        return buffer


@contextlib.contextmanager
def _read_only_arrays() -> Iterator[None]:
    """Silences torch's warning about arrays that cannot be written: nothing here writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        yield
