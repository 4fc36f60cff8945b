"""How long a run held its cluster, and which kind of labeler its device time ran on."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.cost.runs import Attempt, Run
from pipeline.reports.cost.shared import Ints, nanoseconds
from pipeline.run.run_tables import tables
from workers.schema import UNITS_SCHEMA

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Held:
    """What was reserved over all attempts.

    Attributes:
        wall_s: wall time, summed over the attempts.
        core_s: cores of the cluster x that time.
        gpu_s: GPUs of the cluster x that time.
        attempts: how many there were.
        killed: those that ended otherwise than by themselves; each counts to its last row.
    """

    wall_s: float
    core_s: float
    gpu_s: float
    attempts: int
    killed: int


@dataclass(frozen=True)
class Labelers:
    """What a second of device time occupies: shares of the attempts, weighted by device time.

    Attributes:
        cpus: cores.
        gpus: GPUs.
    """

    cpus: float
    gpus: float


def read_attempts(run: Run) -> tuple[Held, Labelers]:
    """Both of them; the times of rows are read only where run.json does not tell alone."""
    kinds = {(attempt.labeler_cpus, attempt.labeler_gpus) for attempt in run.attempts}
    killed = [attempt.ended is None for attempt in run.attempts]
    began = _milliseconds(attempt.began for attempt in run.attempts)
    last, device = began.copy(), np.zeros(len(began), np.int64)
    if any(killed) or len(kinds) > 1:
        last, device = _rows_by_attempt(run, began)
    ended = _ends(run.attempts, last)
    return _held(run.attempts, began, ended, sum(killed)), _labelers(run.attempts, device)


def _held(attempts: Sequence[Attempt], began: Ints, ended: Ints, killed: int) -> Held:
    seconds = np.maximum(ended - began, 0) / 1000
    return Held(
        wall_s=float(seconds.sum()),
        core_s=float(seconds @ np.array([attempt.cpus for attempt in attempts])),
        gpu_s=float(seconds @ np.array([attempt.gpus for attempt in attempts])),
        attempts=len(attempts),
        killed=killed,
    )


def _labelers(attempts: Sequence[Attempt], device_ns: Ints) -> Labelers:
    weights: npt.NDArray[np.float64] = device_ns.astype(np.float64)
    if not weights.sum():
        weights = np.ones(len(attempts))
    weights = weights / weights.sum()
    return Labelers(
        cpus=float(weights @ np.array([attempt.labeler_cpus for attempt in attempts])),
        gpus=float(weights @ np.array([attempt.labeler_gpus for attempt in attempts])),
    )


def _ends(attempts: Sequence[Attempt], last: Ints) -> Ints:
    """(attempts,) milliseconds; a killed attempt ends with the last row that it made."""
    ends = [
        int(row) if attempt.ended is None else _ms(attempt.ended)
        for attempt, row in zip(attempts, last, strict=True)
    ]
    return np.array(ends, np.int64)


def _rows_by_attempt(run: Run, began: Ints) -> tuple[Ints, Ints]:
    """(attempts,) when the last row of each attempt was made, and (attempts,) its device time."""
    last, device = began.copy(), np.zeros(len(began), np.int64)
    for table in tables(run.directory.units, UNITS_SCHEMA, ["labeled_at", "device_ms"]):
        table = table.filter(pc.is_valid(table["labeled_at"]))
        made = np.asarray(table["labeled_at"].cast(pa.int64()))
        attempt = np.maximum(np.searchsorted(began, made, side="right") - 1, 0)
        np.maximum.at(last, attempt, made)
        np.add.at(device, attempt, nanoseconds(table["device_ms"], 1e6))
    return last, device


def _milliseconds(moments: Iterator[datetime.datetime]) -> Ints:
    return np.array([_ms(moment) for moment in moments], np.int64)


def _ms(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
