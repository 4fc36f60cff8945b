"""Shared memory through which a decoder's child process passes frames to its parent."""

from __future__ import annotations

import math
import mmap
import os

import numpy as np
import numpy.typing as npt

KEPT_BYTES = 64 << 20

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int, int]


class SharedFrames:
    """One unit's frames behind a descriptor that both processes hold.

    Each keeps its mapping from unit to unit, as the first touch of a mapped page costs more than
    writing or reading it. What is above KEPT_BYTES goes back to the system after each unit.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapping: mmap.mmap | None = None

    def allocate(self, shape: Shape) -> Pixels:
        """In the child: memory for frames, uint8 of ``shape``, valid until the next unit."""
        count = math.prod(shape)
        if os.fstat(self.descriptor).st_size < count:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error now, not a SIGBUS later
                os.posix_fallocate(self.descriptor, 0, count)
            else:
                os.ftruncate(self.descriptor, count)
        return self._view(count).reshape(shape)

    def taken(self, shape: Shape) -> Pixels:
        """In the parent: a copy of the child's frames, uint8 of ``shape``.

        It is a copy so that the child cannot change the frames of earlier units. Raises
        RuntimeError if the shared memory is too short for ``shape``.
        """
        count = math.prod(shape)
        if os.fstat(self.descriptor).st_size < count:
            raise RuntimeError(f"the shared memory is shorter than {count:,} bytes")
        frames = self._view(count).reshape(shape).copy()
        if count > KEPT_BYTES:
            os.ftruncate(self.descriptor, 0)
        return frames

    def _view(self, count: int) -> Pixels:
        mapping = self._mapping
        if mapping is None or len(mapping) < count:
            mapping = mmap.mmap(self.descriptor, count)
            if count <= KEPT_BYTES:
                self._mapping = mapping
        return np.frombuffer(mapping, dtype=np.uint8, count=count)
