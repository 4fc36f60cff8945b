"""One live line on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import ray

_LIVE_SECONDS = 1.0
_LOG_SECONDS = 30.0


@dataclass
class Counts:
    """What has been labelled by this process."""

    videos: int = 0
    failed: int = 0
    seconds: float = 0.0


class Tally:
    """Adds up what the labellers report; runs as an actor without a core of its own."""

    def __init__(self) -> None:
        self._counts = Counts()

    def add(self, videos: int, failed: int, seconds: float) -> None:
        """One batch of units, the failed ones among them, and the length of the labelled ones."""
        self._counts.videos += videos
        self._counts.failed += failed
        self._counts.seconds += seconds

    def counts(self) -> Counts:
        """The sums so far."""
        return self._counts


@dataclass(frozen=True)
class Reporter:
    """What a labeller calls after each batch. It never waits for an answer."""

    tally: Any

    def __call__(self, videos: int, failed: int, seconds: float) -> None:  # noqa: D102
        self.tally.add.remote(videos, failed, seconds)


@dataclass
class ProgressLine:
    """Formats and writes progress.

    Attributes:
        total: videos of the run.
        before: what earlier starts of the run had finished.
        out: where the lines go.
    """

    total: int
    before: Counts
    out: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)

    def text(self, counts: Counts, *, now: float) -> str:
        """The line, such as `12/48 videos, 1 failed, 0:01:43 of video, 0.8 videos/s, ETA 0:45`."""
        done = min(self.before.videos + counts.videos, self.total)
        elapsed = max(now - self.started, 1e-9)
        rate = counts.videos / elapsed
        parts = [
            f"{done:,}/{self.total:,} videos",
            f"{self.before.failed + counts.failed:,} failed",
            f"{clock(self.before.seconds + counts.seconds)} of video labelled",
        ]
        if counts.videos:
            parts.append(f"{rate:.3g} videos/s ({counts.seconds / elapsed:.3g}x real time)")
            parts.append(f"ETA {clock((self.total - done) / rate)}")
        else:
            parts.append("starting")
        return ", ".join(parts)

    def write(self, line: str) -> None:
        """Writes a line over the last one on a terminal, below it elsewhere."""
        if self.out.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.out.write(f"\r\x1b[K{line[:width]}")
        else:
            self.out.write(f"{line}\n")
        self.out.flush()

    def finish(self) -> None:
        """Leaves the live line standing."""
        if self.out.isatty():
            self.out.write("\n")
            self.out.flush()


def clock(seconds: float) -> str:
    """Seconds as [H:]MM:SS."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def reporting(line: ProgressLine) -> Iterator[Callable[[int, int, float], None]]:
    """Shows progress for as long as the block runs; yields what labellers report to."""
    tally = ray.remote(num_cpus=0)(Tally).remote()
    every = _LIVE_SECONDS if line.out.isatty() else _LOG_SECONDS
    stop = threading.Event()

    def show() -> None:
        while not stop.wait(every):
            line.write(line.text(ray.get(tally.counts.remote()), now=time.monotonic()))

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield Reporter(tally)
    finally:
        stop.set()
        thread.join(timeout=5)
        try:
            counts = ray.get(tally.counts.remote(), timeout=5)
            line.write(line.text(counts, now=time.monotonic()))
        except ray.exceptions.RayError:
            pass  # the cluster is gone, and what ended the block says so
        line.finish()
