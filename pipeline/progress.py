"""One live line on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.counts import Counts
from pipeline.messages import best_effort
from pipeline.metrics import RunGauges, count_units
from pipeline.numerals import digits
from pipeline.stages import Stages, StageSums
from workers.clock import Worked

_LIVE_SECONDS = 1.0
_LOG_SECONDS = 30.0

_UNSEEN = "Labeling goes on unseen; run.json and the summary have the figures."


class Tally:
    """Adds up what the actors report; runs as an actor without a core of its own."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._sums = StageSums()

    def add(self, counts: Counts) -> None:
        """One batch of units."""
        self._counts += counts

    def add_work(self, worked: Worked) -> None:
        """What one actor did."""
        self._sums.add(worked)

    def state(self) -> tuple[Counts, Stages]:
        """The sums so far."""
        return self._counts, self._sums.stages()


@dataclass(frozen=True)
class Reporter:
    """What actors tell about their work. It never waits for an answer.

    Attributes:
        tally: the actor that adds it up.
        run: what the run is called in the metrics.
    """

    tally: Any
    run: str

    def labelled(self, units: pa.Table) -> None:
        """What `LabelActor` calls after each batch, in its own process."""
        self.tally.add.remote(Counts.of(units))
        count_units(self.run, units)

    def tried(self, units: pa.Table) -> None:
        """What `TrialActor` calls after each batch; the metrics are of labels, which it makes none
        of.
        """
        self.tally.add.remote(Counts.of(units))

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
        total_bytes: size of all their files; None where it is not known, or where units are alike.
        what: what a unit is called: "videos", or "stretches" of recordings.
        shadow: how the shadow sample is labelled.
        out: where the lines go.
    """

    total: int
    before: Counts
    total_bytes: int | None = None
    what: str = "videos"
    shadow: str = "without pruning"
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
            f"{self._hours(whole)} labelled",
        ]
        if counts.units:
            parts.append(
                f"{digits(rate)} {self.what}/s ({digits(counts.seconds / elapsed)}x real time)"
            )
            parts.append(f"ETA {clock(self.remaining_s(counts, now=now) or 0.0)}")
        else:
            parts.append("starting")
        if whole.agreement is not None:
            parts.append(f"{100 * whole.agreement:.1f} % of {whole.shadow:,} as {self.shadow}")
        busy = stages.brief() if stages is not None else None
        if busy:
            parts.append(busy)
        return ", ".join(parts)

    def remaining_s(self, counts: Counts, *, now: float) -> float | None:
        """Seconds to go, by bytes where their number is known: large files come first, and units
        done would promise too late an end. None before there is anything to go by.
        """
        elapsed = now - self.started
        done, total = self._share(counts), self._share(self.before + counts)
        return elapsed * max(0.0, 1 - total) / done if done > 0 else None

    def _share(self, counts: Counts) -> float:
        """How much of the whole run these units are."""
        if self.total_bytes:
            return counts.size_bytes / self.total_bytes
        return counts.units / self.total

    def _hours(self, whole: Counts) -> str:
        """Such as `1.2 of about 40 video-hours`; the whole length follows from that of the share
        that is done.
        """
        hours, share = whole.seconds / 3600, self._share(whole)
        if not 0 < share < 1:
            return f"{digits(hours)} video-hours"
        return f"{digits(hours)} of about {digits(hours / share)} video-hours"

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
    line: ProgressLine,
    run: str,
    watch: Callable[[Counts, Stages], None] | None = None,
    *,
    min_agreement: float | None = None,
) -> Iterator[Reporter]:
    """Shows progress for as long as the block runs; yields what the actors report to.

    Args:
        line: how it is shown.
        run: what the run is called in the metrics.
        watch: called every second, from another thread, with what the whole run has done so far,
            and with what its stages have done in this start.
        min_agreement: what the agreement is measured against, for the metrics.
    """
    gauges = RunGauges(run, total=line.total, min_agreement=min_agreement)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    tally = ray.remote(num_cpus=0, scheduling_strategy=here)(Tally).remote()
    every = _LIVE_SECONDS if line.out.isatty() else _LOG_SECONDS
    stop = threading.Event()

    def tell(counts: Counts, stages: Stages, now: float, *, write: bool) -> bool:
        gauges.set(line.before + counts, stages, remaining_s=line.remaining_s(counts, now=now))
        if write:
            line.write(line.text(counts, stages, now=now))
        return True

    def show() -> None:
        shown, works = line.started, True
        while not stop.wait(_LIVE_SECONDS):
            try:
                counts, stages = ray.get(tally.state.remote())
            except ray.exceptions.RayError:
                continue  # what ends the block says so
            if watch is not None:
                watch(line.before + counts, stages)
            now = time.monotonic()
            write = now >= shown + every
            if works:
                telling = partial(tell, counts, stages, now, write=write)
                works = bool(best_effort("The progress line", telling, again=_UNSEEN))
            shown = now if write else shown

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield Reporter(tally, run)
    finally:
        stop.set()
        thread.join(timeout=5)

        def conclude() -> None:
            # If the cluster is gone, what ended the block says so.
            with contextlib.suppress(ray.exceptions.RayError):
                counts, stages = ray.get(tally.state.remote(), timeout=5)
                line.write(line.text(counts, stages, now=time.monotonic()))
            line.finish()

        best_effort("The last progress line", conclude, again=_UNSEEN)
