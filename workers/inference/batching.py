"""Batches of one static shape, cut from the frames of unit after unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from workers.inference.loading import Loaded
from workers.inference.streams import Lane

PADDING = -1


class BatchInput:
    """What the model reads: one batch of views that is filled, computed, and filled again.

    All work on it is queued on the model's lane, so a batch is not touched before the one before
    is computed.

    Attributes:
        clips: uint8 (B, T, S, S, 3) on the device.
        ids: int64 (B,) on the device, the number of each view, PADDING where there is none. They
            come with the pixels from the host and are copied when these are.
        filled: views in the batch so far.
    """

    def __init__(self, lane: Lane, *, batch_size: int, frames: int, size: int) -> None:
        self._lane = lane
        self._size = size
        shape = (batch_size, frames, size, size, 3)
        self.clips = torch.zeros(shape, dtype=torch.uint8, device=lane.device)
        self.ids = torch.full((batch_size,), PADDING, dtype=torch.int64, device=lane.device)
        self.filled = 0

    @property
    def free(self) -> int:
        """Views that still fit."""
        return len(self.ids) - self.filled

    def take(self, loaded: Loaded, origins: npt.NDArray[np.int64], first: int) -> int:
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
            for place in range(count):
                clip, crop = divmod(first + place, len(origins))
                top, left = origins[crop].tolist()
                crops = loaded.frames[:, top : top + self._size, left : left + self._size]
                torch.index_select(crops, 0, loaded.rows[clip], out=self.clips[start + place])
            self.ids[start : start + count].copy_(loaded.ids[first : first + count])

        memory = loaded.memory
        if memory is None:
            self._lane.run(cut)
            return count
        assert memory.arrived is not None
        self._lane.follow(memory.arrived)
        self._lane.run(cut)
        memory.read = self._lane.mark()
        return count

    def pad(self) -> None:
        """Fills the batch up with black views that nobody asks for."""
        start = self.filled

        def blank() -> None:
            self.clips[start:] = 0
            self.ids[start:] = PADDING

        self._lane.run(blank)

    def clear(self) -> None:
        """Begins the next batch."""
        self.filled = 0
