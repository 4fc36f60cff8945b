"""A lane on the CPU that is as late as a GPU: work waits in a queue, and begins after a while."""

import queue
import threading
import time

import torch

from workers.inference.streams import HostLane, Mark

PATIENCE_S = 60


class LateMark(Mark):
    def __init__(self):
        self.passed = threading.Event()
        self.at = 0.0
        self.error = None

    def reach(self):
        assert self.passed.wait(PATIENCE_S), "nothing ever reached this mark"

    def wait(self):
        self.reach()
        if self.error is not None:
            raise self.error

    def ms_since(self, earlier):
        return (self.at - earlier.at) * 1e3


class LateLane(HostLane):
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
        def late():
            time.sleep(self._delay_s)
            work()

        self._work.put(late)

    def mark(self):
        mark = LateMark()

        def reached():
            mark.at = time.perf_counter()
            mark.error = self._error
            mark.passed.set()

        self._work.put(reached)
        return mark

    def follow(self, mark):
        self._work.put(mark.reach)

    def empty(self, size):
        """Garbage, as fresh memory of a device may hold."""
        return torch.full((size,), 0xA5, dtype=torch.uint8)
