"""Batches of one static shape, cut from the frames of one unit after another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from workers.inference.loading import Loaded
from workers.inference.streams import Stream

PADDING = -1


class BatchInput:
    """The model's input: one batch of views that is filled, computed, and filled again.

    All work on the batch is queued on the model's stream, so the batch is not written before the
    one before is computed.

    Attributes:
        clips: uint8 (B, T, S, S, 3) on the device.
        ids: int64 (B,) on the device, the number of each view, PADDING where there is none. They
            come from the host with the pixels and are copied when the pixels are.
        filled: views in the batch so far.
    """

    def __init__(self, stream: Stream, *, batch_size: int, frames: int, size: int) -> None:
        self._stream = stream
        self._size = size
        shape = (batch_size, frames, size, size, 3)
        self.clips = torch.zeros(shape, dtype=torch.uint8, device=stream.device)
        self.ids = torch.full((batch_size,), PADDING, dtype=torch.int64, device=stream.device)
        self.filled = 0

    @property
    def free(self) -> int:
        """Views that still fit."""
        return len(self.ids) - self.filled

    def fill(self, loaded: Loaded, origins: npt.NDArray[np.int64], first: int) -> int:
        """Cuts views out of a unit's frames, clip by clip and crop by crop.

        Args:
            loaded: the unit.
            origins: (crops, 2) top and left of each crop.
            first: the first view to cut.

        Returns:
            How many views fitted.
        """
        start, count = self.filled, min(self.free, len(loaded.ids) - first)
        self.filled += count

        def cut() -> None:
            for offset in range(count):
                clip, crop = divmod(first + offset, len(origins))
                top, left = origins[crop].tolist()
                crops = loaded.frames[:, top : top + self._size, left : left + self._size]
                torch.index_select(crops, 0, loaded.rows[clip], out=self.clips[start + offset])
            self.ids[start : start + count].copy_(loaded.ids[first : first + count])

        buffer = loaded.buffer
        if buffer is None:
            self._stream.run(cut)
            return count
        assert buffer.written is not None
        self._stream.wait_event(buffer.written)
        self._stream.run(cut)
        buffer.read = self._stream.record_event()
        return count

    def pad(self) -> None:
        """Fills the rest of the batch with black views, whose results are discarded."""
        start = self.filled

        def blank() -> None:
            self.clips[start:] = 0
            self.ids[start:] = PADDING

        self._stream.run(blank)

    def clear(self) -> None:
        """Begins the next batch."""
        self.filled = 0
