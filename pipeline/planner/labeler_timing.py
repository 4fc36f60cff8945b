"""Times labelers, as many at once as a run would have on this machine.

On CPUs labelers share caches and memory bandwidth, and a single one would be too fast. Each runs in
a process of its own, and all are timed at the same time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import pyarrow as pa

from pipeline.errors import RunError
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.label_actor import LabelActor
from workers.sampling import Protocol

# A labeler that takes longer to start, compilation included, is taken for dead.
_START_S = 900.0


@dataclass(frozen=True)
class LabelerTiming:
    """Timing of labelers that ran at the same time.

    Attributes:
        labelers: how many.
        units: labeled by all of them.
        views: evaluated views of these units.
        wall_s: time of labeling, summed over the labelers.
        cpu_s: CPU time of labeling, summed.
        imported_s: mean time to start a process and import the program's libraries.
        start_s: mean time from the start of a process to the end of its first call, less the time
            of a later call.
    """

    labelers: int
    units: int
    views: int
    wall_s: float
    cpu_s: float
    imported_s: float
    start_s: float

    @property
    def cores(self) -> float:
        """Cores that they used."""
        return self.labelers * self.cpu_s / self.wall_s


def time_labelers(
    config: LabelerConfig,
    protocol: Protocol,
    frames: pa.Table,
    folder: Path,
    *,
    labelers: int,
    rows: int,
    seconds: float,
    early_exit: EarlyExit | None = None,
) -> LabelerTiming:
    """Labels decoded units repeatedly for `seconds`, with at least one call.

    Args:
        config: model, pruning, batch and threads.
        protocol: how the units were decoded.
        frames: DECODED_SCHEMA, one unit or more.
        folder: for temporary files.
        labelers: how many processes at once.
        rows: units of a call.
        seconds: how long.
        early_exit: when the evaluation of a unit stops; None for all views of each.

    Raises:
        RunError: a labeler could not start or died; the message says why.
    """
    path = folder / "frames.arrow"
    repeated = pa.concat_tables([frames] * -(-rows // len(frames))).slice(0, max(rows, len(frames)))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, frames.schema) as writer:
        writer.write_table(repeated)
    context = get_context("spawn")
    barrier = context.Barrier(labelers)
    ends, processes = [], []
    for _ in range(labelers):
        receiving, sending = context.Pipe(duplex=False)
        work = (path, config, protocol, early_exit, rows, seconds, time.time(), barrier, sending)
        processes.append(context.Process(target=_label, args=work, daemon=True))
        processes[-1].start()
        sending.close()
        ends.append(receiving)
    try:
        parts = [_received(end, barrier) for end in ends]
    finally:
        for process in processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
    return _together(parts)


def _received(end: Connection, barrier: Barrier) -> LabelerTiming:
    try:
        said = end.recv()
    except EOFError:
        barrier.abort()
        said = "a labeler died; was the system short of memory?"
    if isinstance(said, str):
        raise RunError(f"labeling could not be measured: {said}", advice="")
    assert isinstance(said, LabelerTiming)
    return said


def _together(parts: list[LabelerTiming]) -> LabelerTiming:
    def total(name: str) -> float:
        return float(sum(getattr(part, name) for part in parts))

    return LabelerTiming(
        labelers=len(parts),
        units=int(total("units")),
        views=int(total("views")),
        wall_s=total("wall_s"),
        cpu_s=total("cpu_s"),
        imported_s=total("imported_s") / len(parts),
        start_s=total("start_s") / len(parts),
    )


def _label(
    path: Path,
    config: LabelerConfig,
    protocol: Protocol,
    early_exit: EarlyExit | None,
    rows: int,
    seconds: float,
    launched: float,
    barrier: Barrier,
    answer: Connection,
) -> None:
    """What each process does."""
    imported_s = time.time() - launched
    try:
        with pa.memory_map(str(path)) as source:
            frames = pa.ipc.open_file(source).read_all()
            actor = LabelActor(config, protocol, early_exit=early_exit)
            timed = _measured(frames, actor, rows, seconds, launched, barrier)
        answer.send(LabelerTiming(1, *timed[:4], imported_s, timed[4]))
    except BrokenBarrierError:
        answer.send("another labeler failed")
    except Exception as error:
        barrier.abort()
        answer.send(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _measured(
    frames: pa.Table,
    actor: LabelActor,
    rows: int,
    seconds: float,
    launched: float,
    barrier: Barrier,
) -> tuple[int, int, float, float, float]:
    """(units, views, wall, CPU time, start-up) of one labeler."""
    actor(frames.slice(0, rows))
    started = time.time() - launched
    barrier.wait(_START_S)
    units = at = 0
    views = actor.totals.views
    began, cpu = time.perf_counter(), time.process_time()
    while True:
        call = frames.slice(at, rows)
        if len(call) < rows:
            at, call = 0, frames.slice(0, rows)
        actor(call)
        units, at = units + rows, at + rows
        wall_s = time.perf_counter() - began
        if wall_s >= seconds:
            break
    cpu_s = time.process_time() - cpu
    views = actor.totals.views - views
    return units, views, wall_s, cpu_s, max(0.0, started - wall_s * rows / units)
