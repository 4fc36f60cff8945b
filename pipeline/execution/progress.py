"""Progress of a run: one live line on a terminal, a line every 30 seconds in a log."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TextIO

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.execution.metrics import RunGauges, count_units
from pipeline.execution.stage_stats import Stages, StageSums
from pipeline.formatting import clock, short
from pipeline.messages import best_effort
from pipeline.run.counts import Counts, settled
from workers.actor_stats import WorkReport

_LIVE_SECONDS = 1.0
_LOG_SECONDS = 30.0
# Two estimates of a run's length that differ by less than this factor are as good as one.
_ALIKE = 1.5

# Width of a terminal whose width is unknown.
_COLUMNS = 80

_UNSEEN = "Labeling continues without it; run.json and the summary have the figures."


class Tally:
    """Adds up the reports of the actors; is itself an actor that reserves no core."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._sums = StageSums()

    def add(self, counts: Counts) -> None:
        """Adds one batch of units."""
        self._counts += counts

    def add_work(self, worked: WorkReport) -> None:
        """Adds one report of an actor's work."""
        self._sums.add(worked)

    def state(self) -> tuple[Counts, Stages]:
        """The sums so far."""
        return self._counts, self._sums.stages()


@dataclass(frozen=True)
class Reporter:
    """Sends what the actors did to the driver's node; the actors do not wait for an answer.

    Attributes:
        tallies: the actors that add it up, one for the actors of each driver.
        run: name of the run in the metrics.
        number: index of the tally that the reports go to.
    """

    tallies: tuple[Any, ...]
    run: str
    number: int = 0

    def of(self, number: int) -> Reporter:
        """The reporter for the actors of a driver, counted from 0."""
        return replace(self, number=number)

    @property
    def _tally(self) -> Any:
        return self.tallies[self.number]

    def add_labels(self, units: pa.Table) -> None:
        """Reports a batch of labeled units; `LabelActor` calls it in its own process."""
        self._tally.add.remote(Counts.of(units))
        count_units(self.run, settled(units))

    def add_sweep(self, units: pa.Table) -> None:
        """Reports a batch of a sweep; `SweepActor` calls it. The metrics count labels, and a sweep
        has none.
        """
        self._tally.add.remote(Counts.of(units))

    def add_work(self, worked: WorkReport) -> None:
        """Reports the time that an actor worked; the wrapper `timed` calls it."""
        self._tally.add_work.remote(worked)

    def stages(self) -> Stages:
        """The sums so far; the driver calls it and waits for the answer."""
        _, stages = _sums(self.tallies)
        return stages


@dataclass
class ProgressLine:
    """Formats and writes progress.

    Attributes:
        total: units of the run.
        before: counts of earlier attempts of the run.
        total_bytes: bytes of the files of all units; None if unknown, or if units are alike.
        what: what units are called, "videos" or "segments".
        shadow: how the shadow sample is labeled, such as "without pruning".
        out: stream that the lines are written to.
        started: start of the attempt, in seconds of `time.monotonic`.
    """

    total: int
    before: Counts
    total_bytes: int | None = None
    what: str = "videos"
    shadow: str = "without pruning"
    out: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)

    def parts(
        self, counts: Counts, stages: Stages | None = None, *, now: float, ended: bool = False
    ) -> list[str]:
        """Parts of the line, the most important first: `12/48 videos`, `25 %`, `ETA 1:45`,
        `0.8 videos/s`, `1 failed` and so on.

        Args:
            counts: units of the present attempt.
            stages: statistics of the stages, if known.
            now: time, in seconds of `time.monotonic`.
            ended: whether the graph has ended, so that no ETA is given.
        """
        whole = self.before + counts
        done = min(whole.units, self.total)
        elapsed = max(now - self.started, 1e-9)
        parts = [f"{done:,}/{self.total:,} {self.what}", f"{self._percent(done)} %"]
        if ended:
            parts.append(f"after {clock(elapsed)}")
        else:
            parts.append(self._expected(counts, done, now=now))
        if counts.units:
            parts.append(_rate(counts.units / elapsed, self.what))
        parts.append(f"{whole.failed:,} failed")
        if counts.units:
            parts.append(f"{short(counts.seconds / elapsed)}x real time")
            parts.append(self._length(whole))
        if whole.agreement is not None:
            parts.append(
                f"{100 * whole.agreement:.1f} % of {whole.shadow:,} labels the same {self.shadow}"
            )
        if stages is not None and stages.are_measured:
            parts.append(f"decoders {100 * stages.decoders_busy:.0f} % busy")
            parts.append(f"labelers {100 * stages.labelers_busy:.0f} % busy")
        return parts

    def _percent(self, done: int) -> str:
        """The percentage, rounded down so that only a complete run is 100 %; long runs get one
        decimal.
        """
        if self.total < 1000:
            return str(100 * done // max(self.total, 1))
        tenths = 1000 * done // self.total
        return f"{tenths // 10}.{tenths % 10}"

    def _expected(self, counts: Counts, done: int, *, now: float) -> str:
        """The expected end, in words."""
        if done == self.total:
            return "finishing"
        remaining = self.remaining_s(counts, now=now)
        if remaining is None:
            return "starting"
        if remaining < 60:
            return "ETA under a minute"
        days = remaining / 86400
        return f"ETA {clock(remaining)}" if days < 2 else f"ETA {short(days)} days"

    def remaining_s(self, counts: Counts, *, now: float) -> float | None:
        """Seconds until the end; None before the first unit is done.

        If the sizes of files are known, the mean of two estimates. Large files come first, so an
        estimate by units is too late if decoding limits the run. An estimate by bytes is too early
        if the model limits it, since the model sees as many views of a short video as of a long
        one.
        """
        elapsed, whole = now - self.started, self.before + counts
        pairs = [(counts.units, whole.units, self.total)]
        if self.total_bytes:
            pairs.append((counts.size_bytes, whole.size_bytes, self.total_bytes))
        found = [elapsed * max(0, total - done) / here for here, done, total in pairs if here > 0]
        return sum(found) / len(found) if found else None

    def _length(self, whole: Counts) -> str:
        """The length labeled so far, such as `1.2 of about 40 video-hours`. The total is left out
        if estimates by units and by bytes differ too much.
        """
        pairs = [(whole.units, self.total), (whole.size_bytes, self.total_bytes)]
        found = [whole.seconds * total / done for done, total in pairs if done and total]
        expected = sum(found) / len(found)
        unit, seconds = ("video-hours", 3600) if expected >= 3600 else ("video-minutes", 60)
        said, about = short(whole.seconds / seconds), short(expected / seconds)
        if said == about or max(found) > _ALIKE * min(found):
            return f"{said} {unit}"
        return f"{said} of about {about} {unit}"

    def write(self, parts: Sequence[str]) -> None:
        """Writes a line. A terminal's line replaces the last one and holds as many parts as fit its
        width; elsewhere a whole line is added.
        """
        if self.out.isatty():
            self.out.write(f"\r\x1b[K{fitted(parts, _columns(self.out) - 1)}")
        else:
            self.out.write(f"{', '.join(parts)}\n")
        self.out.flush()

    def finish(self) -> None:
        """Ends the live line, so that later output does not overwrite it."""
        if self.out.isatty():
            self.out.write("\n")
            self.out.flush()


def fitted(parts: Sequence[str], width: int) -> str:
    """The first parts, as many as fit `width` columns. Only the first part is ever cut, if it alone
    is too long.
    """
    line = parts[0]
    for part in parts[1:]:
        longer = f"{line}, {part}"
        if len(longer) > width:
            break
        line = longer
    return line[:width]


def _columns(out: TextIO) -> int:
    """Columns of the terminal that `out` writes to, which may differ from that of stdout."""
    try:
        return os.get_terminal_size(out.fileno()).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def _rate(per_s: float, what: str) -> str:
    """A rate per second, minute or hour: the first unit in which it is at least 0.5."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= 0.5:
            return f"{short(per_s * seconds)} {what}/{unit}"
    return f"{short(per_s * 3600)} {what}/h"


def _sums(tallies: Sequence[Any], *, timeout: float | None = None) -> tuple[Counts, Stages]:
    """The sums of all tallies so far."""
    states = ray.get([tally.state.remote() for tally in tallies], timeout=timeout)
    counts, stages = zip(*states, strict=True)
    return sum(counts, Counts()), sum(stages, Stages())


@contextmanager
def reporting(
    line: ProgressLine,
    run: str,
    watch: Callable[[Counts, Stages], None] | None = None,
    *,
    min_agreement: float | None = None,
    drivers: int = 1,
) -> Iterator[Reporter]:
    """Shows progress while the block runs; yields the Reporter for the actors.

    Args:
        line: writes the progress.
        run: name of the run in the metrics.
        watch: called every second, from another thread, with the counts of the whole run and the
            statistics of this attempt's stages.
        min_agreement: value of --min-agreement, for the metrics.
        drivers: number of drivers whose actors report.
    """
    gauges = RunGauges(run, total=line.total, min_agreement=min_agreement)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    tally = ray.remote(num_cpus=0, scheduling_strategy=here)(Tally)
    tallies = tuple(tally.remote() for _ in range(drivers))
    every = _LIVE_SECONDS if line.out.isatty() else _LOG_SECONDS
    stop = threading.Event()

    def tell(counts: Counts, stages: Stages, now: float, *, write: bool) -> bool:
        gauges.set(line.before + counts, stages, remaining_s=line.remaining_s(counts, now=now))
        if write:
            line.write(line.parts(counts, stages, now=now))
        return True

    def show() -> None:
        shown, works = line.started, True
        while not stop.wait(_LIVE_SECONDS):
            try:
                counts, stages = _sums(tallies)
            except ray.exceptions.RayError:
                continue  # the error that ends the block reports it
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
        yield Reporter(tallies, run)
    finally:
        stop.set()
        thread.join(timeout=5)

        def conclude() -> None:
            # If the cluster is gone, the error that ended the block reports it.
            with contextlib.suppress(ray.exceptions.RayError):
                counts, stages = _sums(tallies, timeout=5)
                line.write(line.parts(counts, stages, now=time.monotonic(), ended=True))
            line.finish()

        best_effort("The last progress line", conclude, again=_UNSEEN)
