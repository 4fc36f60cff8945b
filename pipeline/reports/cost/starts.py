"""How long a run held its cluster, and which kind of labeler its device time ran on."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.cost.runs import Run, Start
from pipeline.reports.cost.shared import Ints, nanoseconds
from pipeline.run.run_tables import tables
from workers.schema import UNITS_SCHEMA

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Held:
    """What was reserved over all starts.

    Attributes:
        wall_s: wall time, summed over the starts.
        core_s: cores of the cluster x that time.
        gpu_s: GPUs of the cluster x that time.
        starts: how many there were.
        killed: those that ended otherwise than by themselves; each counts to its last row.
    """

    wall_s: float
    core_s: float
    gpu_s: float
    starts: int
    killed: int


@dataclass(frozen=True)
class Labelers:
    """What a second of device time occupies: shares of the starts, weighted by device time.

    Attributes:
        cpus: cores.
        gpus: GPUs.
    """

    cpus: float
    gpus: float


def read_starts(run: Run) -> tuple[Held, Labelers]:
    """Both of them; the times of rows are read only where run.json does not tell alone."""
    kinds = {(start.labeler_cpus, start.labeler_gpus) for start in run.starts}
    killed = [start.ended is None for start in run.starts]
    began = _milliseconds(start.began for start in run.starts)
    last, device = began.copy(), np.zeros(len(began), np.int64)
    if any(killed) or len(kinds) > 1:
        last, device = _rows_by_start(run, began)
    ended = _ends(run.starts, last)
    return _held(run.starts, began, ended, sum(killed)), _labelers(run.starts, device)


def _held(starts: Sequence[Start], began: Ints, ended: Ints, killed: int) -> Held:
    seconds = np.maximum(ended - began, 0) / 1000
    return Held(
        wall_s=float(seconds.sum()),
        core_s=float(seconds @ np.array([start.cpus for start in starts])),
        gpu_s=float(seconds @ np.array([start.gpus for start in starts])),
        starts=len(starts),
        killed=killed,
    )


def _labelers(starts: Sequence[Start], device_ns: Ints) -> Labelers:
    weights: npt.NDArray[np.float64] = device_ns.astype(np.float64)
    if not weights.sum():
        weights = np.ones(len(starts))
    weights = weights / weights.sum()
    return Labelers(
        cpus=float(weights @ np.array([start.labeler_cpus for start in starts])),
        gpus=float(weights @ np.array([start.labeler_gpus for start in starts])),
    )


def _ends(starts: Sequence[Start], last: Ints) -> Ints:
    """(starts,) milliseconds; a killed start ends with the last row that it made."""
    ends = [
        int(row) if start.ended is None else _ms(start.ended)
        for start, row in zip(starts, last, strict=True)
    ]
    return np.array(ends, np.int64)


def _rows_by_start(run: Run, began: Ints) -> tuple[Ints, Ints]:
    """(starts,) when the last row of each start was made, and (starts,) its device time."""
    last, device = began.copy(), np.zeros(len(began), np.int64)
    for table in tables(run.directory.units, UNITS_SCHEMA, ["labeled_at", "device_ms"]):
        table = table.filter(pc.is_valid(table["labeled_at"]))
        made = np.asarray(table["labeled_at"].cast(pa.int64()))
        start = np.maximum(np.searchsorted(began, made, side="right") - 1, 0)
        np.maximum.at(last, start, made)
        np.add.at(device, start, nanoseconds(table["device_ms"], 1e6))
    return last, device


def _milliseconds(moments: Iterator[datetime.datetime]) -> Ints:
    return np.array([_ms(moment) for moment in moments], np.int64)


def _ms(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
