"""One live line on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.stages import Stages, StageSums
from workers.clock import Worked

_LIVE_SECONDS = 1.0
_LOG_SECONDS = 30.0


@dataclass
class Counts:
    """Units that have a row.

    Attributes:
        units: all of them.
        failures: the failed ones by error_type.
        seconds: length of the labelled ones.
    """

    units: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Units that failed, for whatever reason."""
        return self.failures.total()

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.units + other.units,
            self.failures + other.failures,
            self.seconds + other.seconds,
        )

    def reasons(self) -> str:
        """The failures by reason, most frequent first: "58 not_found, 3 forbidden"."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.failures.most_common())


class Tally:
    """Adds up what the actors report; runs as an actor without a core of its own."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._sums = StageSums()

    def add(self, units: int, failures: dict[str, int], seconds: float) -> None:
        """One batch of units, the failed ones by reason, and the length of the labelled ones."""
        self._counts += Counts(units, Counter(failures), seconds)

    def add_work(self, worked: Worked) -> None:
        """What one actor did."""
        self._sums.add(worked)

    def state(self) -> tuple[Counts, Stages]:
        """The sums so far."""
        return self._counts, self._sums.stages()


@dataclass(frozen=True)
class Reporter:
    """What actors tell about their work. It never waits for an answer."""

    tally: Any

    def counts(self, units: int, failures: dict[str, int], seconds: float) -> None:
        """What `LabelActor` calls after each batch."""
        self.tally.add.remote(units, failures, seconds)

    def work(self, worked: Worked) -> None:
        """What the actors' clocks call."""
        self.tally.add_work.remote(worked)

    def stages(self) -> Stages:
        """What was told so far; for the driver, which waits for the answer."""
        _, stages = ray.get(self.tally.state.remote())
        assert isinstance(stages, Stages)
        return stages


@dataclass
class ProgressLine:
    """Formats and writes progress.

    Attributes:
        total: units of the run.
        before: what earlier starts of the run had finished.
        what: what a unit is called: "videos", or "stretches" of recordings.
        out: where the lines go.
    """

    total: int
    before: Counts
    what: str = "videos"
    out: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)

    def text(self, counts: Counts, stages: Stages | None = None, *, now: float) -> str:
        """The line, such as `12/48 videos, 1 failed, 0:01:43 of video, 0.8 videos/s, ETA 0:45`,
        and how busy the stages are where that is known.
        """
        whole = self.before + counts
        done = min(whole.units, self.total)
        elapsed = max(now - self.started, 1e-9)
        rate = counts.units / elapsed
        parts = [
            f"{done:,}/{self.total:,} {self.what}",
            f"{whole.failed:,} failed",
            f"{clock(whole.seconds)} of video labelled",
        ]
        if counts.units:
            parts.append(f"{rate:.3g} {self.what}/s ({counts.seconds / elapsed:.3g}x real time)")
            parts.append(f"ETA {clock((self.total - done) / rate)}")
        else:
            parts.append("starting")
        busy = stages.brief() if stages is not None else None
        if busy:
            parts.append(busy)
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
def reporting(
    line: ProgressLine, watch: Callable[[Counts], None] | None = None
) -> Iterator[Reporter]:
    """Shows progress for as long as the block runs; yields what the actors report to.

    `watch` is called every second, from another thread, with what the whole run has done so far.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    tally = ray.remote(num_cpus=0, scheduling_strategy=here)(Tally).remote()
    every = _LIVE_SECONDS if line.out.isatty() else _LOG_SECONDS
    stop = threading.Event()

    def show() -> None:
        shown = line.started
        while not stop.wait(_LIVE_SECONDS):
            try:
                counts, stages = ray.get(tally.state.remote())
            except ray.exceptions.RayError:
                continue  # what ends the block says so
            if watch is not None:
                watch(line.before + counts)
            if time.monotonic() >= shown + every:
                shown = time.monotonic()
                line.write(line.text(counts, stages, now=shown))

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield Reporter(tally)
    finally:
        stop.set()
        thread.join(timeout=5)
        try:
            counts, stages = ray.get(tally.state.remote(), timeout=5)
            line.write(line.text(counts, stages, now=time.monotonic()))
        except ray.exceptions.RayError:
            pass  # the cluster is gone, and what ended the block says so
        line.finish()
