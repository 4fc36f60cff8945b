"""A stream on the CPU, asynchronous like a GPU: work is queued and begins after a delay."""

import queue
import threading
import time

import torch

from workers.inference.streams import Event, HostStream

PATIENCE_S = 60


class DelayedEvent(Event):
    def __init__(self):
        self.reached = threading.Event()
        self.at = 0.0
        self.error = None

    def wait(self):
        assert self.reached.wait(PATIENCE_S), f"the event was not reached in {PATIENCE_S} s"

    def synchronize(self):
        self.wait()
        if self.error is not None:
            raise self.error

    def elapsed_time(self, end):
        return (end.at - self.at) * 1e3


class DelayedStream(HostStream):
    """Runs in a thread of its own what `run` is given, `delay_s` after it could begin."""

    def __init__(self, delay_s=0.002):
        super().__init__()
        self._delay_s = delay_s
        self._work = queue.SimpleQueue()
        self._error = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                self._work.get()()
            except Exception as error:
                self._error = error

    def run(self, work):
        def delayed():
            time.sleep(self._delay_s)
            work()

        self._work.put(delayed)

    def record_event(self):
        event = DelayedEvent()

        def reached():
            event.at = time.perf_counter()
            event.error = self._error
            event.reached.set()

        self._work.put(reached)
        return event

    def wait_event(self, event):
        self._work.put(event.wait)

    def empty(self, size):
        """Garbage, as fresh memory of a device may hold."""
        return torch.full((size,), 0xA5, dtype=torch.uint8)
