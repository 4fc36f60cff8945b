"""Pinned host memory that the results of a batch are copied to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from workers.inference.streams import Event, Stream

Outputs = tuple[Tensor, ...]


class OutputBuffer:
    """Host memory for the results of one batch.

    Args:
        stream: where batches are computed.
        shapes: shape and dtype of each result.
    """

    def __init__(
        self, stream: Stream, shapes: Sequence[tuple[tuple[int, ...], torch.dtype]]
    ) -> None:
        self._stream = stream
        self._results = [stream.empty_host(shape, dtype) for shape, dtype in shapes]
        self._began: Event | None = None
        self._done: Event | None = None

    def submit(self, compute: Callable[[], Outputs]) -> None:
        """Queues a batch and the copy of its results; the batch before must have been read."""

        def work() -> None:
            for result, output in zip(self._results, compute(), strict=True):
                result.copy_(output, non_blocking=True)

        self._began = self._stream.record_event()
        self._stream.run(work)
        self._done = self._stream.record_event()

    def wait(self) -> None:
        """Blocks until the device writes here no more."""
        if self._done is not None:
            self._done.synchronize()

    def read(self) -> tuple[list[npt.NDArray[Any]], float]:
        """Waits for the results; returns copies of them, and the batch's device time in ms."""
        assert self._began is not None
        assert self._done is not None
        self._done.synchronize()
        results = [result.numpy().copy() for result in self._results]
        return results, self._began.elapsed_time(self._done)
