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

    The child keeps its mapping from unit to unit, as the first touch of a mapped page costs more
    than writing it. The parent maps nothing: it reads, so that a child that shrinks the file can
    neither end it with SIGBUS nor change what it has read. What is above KEPT_BYTES goes back to
    the system after each unit.
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
        mapping = self._mapping
        if mapping is None or len(mapping) < count:
            mapping = mmap.mmap(self.descriptor, count)
            if count <= KEPT_BYTES:
                self._mapping = mapping
        return np.frombuffer(mapping, dtype=np.uint8, count=count).reshape(shape)

    def taken(self, shape: Shape) -> Pixels:
        """In the parent: a copy of the child's frames, uint8 of ``shape``.

        Raises EOFError if the shared memory is too short for ``shape``.
        """
        if os.fstat(self.descriptor).st_size < math.prod(shape):
            raise EOFError("the shared memory is shorter than the frames")
        frames = np.empty(shape, dtype=np.uint8)
        left, offset = frames.reshape(-1), 0
        while len(left):
            count = os.preadv(self.descriptor, [left.data], offset)
            if not count:
                raise EOFError("the shared memory is shorter than the frames")
            left, offset = left[count:], offset + count
        self.release()
        return frames

    def release(self) -> None:
        """In the parent: gives back what is above KEPT_BYTES."""
        if os.fstat(self.descriptor).st_size > KEPT_BYTES:
            os.ftruncate(self.descriptor, 0)
