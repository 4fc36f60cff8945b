"""Streams of work on a device, and events in them: the interface of torch.cuda, also for a CPU.

A stream runs what it is given in order. `run` may return before the work is done, as on a CUDA
stream. Who reads the memory next waits for an event: another stream with `wait_event`, the host
with `Event.synchronize`. The same code then runs on a GPU, on a CPU, and in tests on a stream that
is slow on purpose.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Event(ABC):
    """A point in a stream, reached when all work that was queued before it is done."""

    @abstractmethod
    def synchronize(self) -> None:
        """Blocks the caller until the event is reached."""

    @abstractmethod
    def elapsed_time(self, end: Event) -> float:
        """Milliseconds on the device from here to a later event of the stream; both reached."""


class Stream(ABC):
    """A queue of work on one device.

    Attributes:
        device: where the work is done.
        pinned: whether host memory has to be page-locked for copies that do not block.
    """

    device: torch.device
    pinned: bool

    @abstractmethod
    def run(self, work: Callable[[], object]) -> None:
        """Queues work; it may not have begun when this returns."""

    @abstractmethod
    def record_event(self) -> Event:
        """An event after all that was queued so far."""

    @abstractmethod
    def wait_event(self, event: Event) -> None:
        """Makes all work queued from now on wait for an event, also one of another stream."""

    @abstractmethod
    def empty(self, size: int) -> Tensor:
        """Uninitialized device memory (size,) uint8, which this stream must be the first to write.

        Before the memory is freed, every event of work that touches it must have been reached.
        """

    def empty_host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Uninitialized host memory that copies from and to the device need not block on."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.pinned)


class HostEvent(Event):
    """An event of a stream whose work is done when it is queued."""

    def __init__(self) -> None:
        self._at = time.perf_counter()

    def synchronize(self) -> None:  # noqa: D102
        return

    def elapsed_time(self, end: Event) -> float:  # noqa: D102
        assert isinstance(end, HostEvent)
        return (end._at - self._at) * 1e3


class HostStream(Stream):
    """The CPU: the caller does the work at once."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.pinned = False

    def run(self, work: Callable[[], object]) -> None:  # noqa: D102
        work()

    def record_event(self) -> Event:  # noqa: D102
        return HostEvent()

    def wait_event(self, event: Event) -> None:  # noqa: D102
        event.synchronize()

    def empty(self, size: int) -> Tensor:  # noqa: D102
        return torch.empty(size, dtype=torch.uint8)


class CudaEvent(Event):
    """An event of a CUDA stream."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        # A blocking wait sleeps: the core that would spin belongs to the decoders.
        self.event = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
        self.event.record(stream)

    def synchronize(self) -> None:  # noqa: D102
        self.event.synchronize()

    def elapsed_time(self, end: Event) -> float:  # noqa: D102
        assert isinstance(end, CudaEvent)
        return float(self.event.elapsed_time(end.event))


class CudaStream(Stream):
    """A CUDA stream that neither waits for the default stream nor holds it up."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pinned = True
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], object]) -> None:  # noqa: D102
        with torch.cuda.stream(self.stream):
            work()

    def record_event(self) -> Event:  # noqa: D102
        return CudaEvent(self.stream)

    def wait_event(self, event: Event) -> None:  # noqa: D102
        assert isinstance(event, CudaEvent)
        self.stream.wait_event(event.event)

    def empty(self, size: int) -> Tensor:  # noqa: D102
        # The caching allocator ties memory to the stream it is allocated on: only that stream may
        # write it at once.
        with torch.cuda.stream(self.stream):
            return torch.empty(size, dtype=torch.uint8, device=self.device)
