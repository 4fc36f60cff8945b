"""Results of a batch on their way back to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from workers.inference.streams import Lane, Mark

Outputs = tuple[Tensor, ...]


class Readback:
    """Host memory for the results of one batch.

    Args:
        lane: where batches are computed.
        shapes: shape and dtype of each result.
    """

    def __init__(self, lane: Lane, shapes: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> None:
        self._lane = lane
        self._results = [lane.host(shape, dtype) for shape, dtype in shapes]
        self._began: Mark | None = None
        self._done: Mark | None = None

    def launch(self, compute: Callable[[], Outputs]) -> None:
        """Queues a batch and the transfer of its results; the one before must have been read."""

        def work() -> None:
            for result, output in zip(self._results, compute(), strict=True):
                result.copy_(output, non_blocking=True)

        self._began = self._lane.mark()
        self._lane.run(work)
        self._done = self._lane.mark()

    def wait(self) -> None:
        """Blocks until nothing writes here any more."""
        if self._done is not None:
            self._done.wait()

    def read(self) -> tuple[list[npt.NDArray[Any]], float]:
        """Copies of the results, and the milliseconds that the device took; waits for them."""
        assert self._began is not None
        assert self._done is not None
        self._done.wait()
        return [result.numpy().copy() for result in self._results], self._done.ms_since(self._began)
