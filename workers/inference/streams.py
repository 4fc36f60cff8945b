"""Queues of work for a device, and marks in them: what is done when, and who waits for whom.

A lane runs what it is given in order. `run` may return before the work is done, as on a CUDA
stream; whoever touches its memory next waits at a mark: another lane by `follow`, the host by
`Mark.wait`. The same code then runs on a GPU, on a CPU, and in tests on a lane that is late.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Mark(ABC):
    """A moment in a lane: all work before it is done, none of what came after was needed."""

    @abstractmethod
    def wait(self) -> None:
        """Blocks the caller until the work before the mark is done."""

    @abstractmethod
    def ms_since(self, earlier: Mark) -> float:
        """Milliseconds on the device from an earlier mark of the lane; both have passed."""


class Lane(ABC):
    """A queue of work on one device.

    Attributes:
        device: where the work is done.
        pinned: whether host memory has to be page-locked for copies that do not block.
    """

    device: torch.device
    pinned: bool

    @abstractmethod
    def run(self, work: Callable[[], None]) -> None:
        """Queues work; it may not have begun when this returns."""

    @abstractmethod
    def mark(self) -> Mark:
        """A mark after all that was queued so far."""

    @abstractmethod
    def follow(self, mark: Mark) -> None:
        """Lets what is queued from now on begin after a mark, which may be of another lane."""

    @abstractmethod
    def empty(self, size: int) -> Tensor:
        """Memory (size,) uint8 on the device, for the work of this lane to write first.

        Whoever drops it waits before for every mark of work that touches it.
        """

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory of the host that copies from and to the device need not wait for."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.pinned)


class HostMark(Mark):
    """A mark of a lane whose work is done when it is queued."""

    def __init__(self) -> None:
        self._at = time.perf_counter()

    def wait(self) -> None:  # noqa: D102
        return

    def ms_since(self, earlier: Mark) -> float:  # noqa: D102
        assert isinstance(earlier, HostMark)
        return (self._at - earlier._at) * 1e3


class HostLane(Lane):
    """The CPU: work is done by the caller, at once."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.pinned = False

    def run(self, work: Callable[[], None]) -> None:  # noqa: D102
        work()

    def mark(self) -> Mark:  # noqa: D102
        return HostMark()

    def follow(self, mark: Mark) -> None:  # noqa: D102
        mark.wait()

    def empty(self, size: int) -> Tensor:  # noqa: D102
        return torch.empty(size, dtype=torch.uint8)


class CudaMark(Mark):
    """An event on a CUDA stream."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        # A host that waits sleeps: its core belongs to the decoders.
        self.event = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
        self.event.record(stream)

    def wait(self) -> None:  # noqa: D102
        self.event.synchronize()

    def ms_since(self, earlier: Mark) -> float:  # noqa: D102
        assert isinstance(earlier, CudaMark)
        return float(earlier.event.elapsed_time(self.event))


class CudaLane(Lane):
    """A CUDA stream of its own, which neither waits for the default stream nor holds it up."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pinned = True
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], None]) -> None:  # noqa: D102
        with torch.cuda.stream(self.stream):
            work()

    def mark(self) -> Mark:  # noqa: D102
        return CudaMark(self.stream)

    def follow(self, mark: Mark) -> None:  # noqa: D102
        assert isinstance(mark, CudaMark)
        self.stream.wait_event(mark.event)

    def empty(self, size: int) -> Tensor:  # noqa: D102
        # Memory belongs to the stream it is allocated on: only there is it safe to write at once.
        with torch.cuda.stream(self.stream):
            return torch.empty(size, dtype=torch.uint8, device=self.device)
