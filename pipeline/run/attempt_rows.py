"""Device time and duration of each attempt of a run, from run.json and the rows of units/.

run.json records for each attempt when it began and ended, its cluster, and the GPUs and cores of
each labeler; each row of units/ records when it was made (`labeled_at`).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.prices import DeviceTime
from pipeline.run.run_record import Attempt
from pipeline.run.sums import Ints, nanoseconds

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)


@dataclass(frozen=True)
class Span:
    """Begin and end of an attempt, in seconds since the epoch."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.ended - self.began


class AttemptRows:
    """Sums over rows of units/ by the attempt that made them.

    The attempt of a row is the last one that began before the row was made, or the first. A row
    without `labeled_at` belongs to the last attempt.

    Args:
        attempts: attempts of the run, in order, at least one.

    Attributes:
        device_ns: (attempts,) device time of labeling, without the shadow sample.
        shadow_ns: (attempts,) device time of the shadow sample.
        last_ms: (attempts,) time of the last row, milliseconds since the epoch; for an attempt
            without rows, its begin.
        rows: (attempts,) number of rows whose time is known.
        first_rows: (attempts,) those of them that were made at the earliest of these times.
    """

    COLUMNS = ("labeled_at", "device_ms", "unpruned_device_ms")

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self.attempts = tuple(attempts)
        self._began_ms = np.array([_ms(each.began) for each in attempts], np.int64)
        self.last_ms: Ints = self._began_ms.copy()
        self.rows: Ints = np.zeros(len(attempts), np.int64)
        self.first_rows: Ints = np.zeros(len(attempts), np.int64)
        self._first_ms: Ints = np.full(len(attempts), np.iinfo(np.int64).max)
        self.device_ns: Ints = np.zeros(len(attempts), np.int64)
        self.shadow_ns: Ints = np.zeros(len(attempts), np.int64)

    def add(self, rows: pa.Table | pa.RecordBatch) -> Ints:
        """Adds rows with COLUMNS and returns (rows,) the number of each row's attempt."""
        known = np.asarray(pc.is_valid(rows["labeled_at"]))
        made = np.asarray(pc.fill_null(rows["labeled_at"].cast(pa.int64()), 0))
        number = np.maximum(np.searchsorted(self._began_ms, made, side="right") - 1, 0)
        number = np.where(known, number, len(self.attempts) - 1)
        np.maximum.at(self.last_ms, number[known], made[known])
        self._count(number[known], made[known])
        np.add.at(self.device_ns, number, nanoseconds(rows["device_ms"], 1e6))
        np.add.at(self.shadow_ns, number, nanoseconds(rows["unpruned_device_ms"], 1e6))
        return number

    def _count(self, number: Ints, made: Ints) -> None:
        np.add.at(self.rows, number, 1)
        before = self._first_ms.copy()
        np.minimum.at(self._first_ms, number, made)
        self.first_rows[self._first_ms < before] = 0
        np.add.at(self.first_rows, number[made == self._first_ms[number]], 1)

    def making(self) -> list[float]:
        """Seconds from the first row of each attempt to its last; 0 without rows.

        The rest of an attempt is its start, which ends with the rows that came first, and its end.
        """
        pairs = zip(self.last_ms.tolist(), self._first_ms.tolist(), strict=True)
        return [max(0, last - first) / 1e3 for last, first in pairs]

    def device_time(self, device_ns: Ints) -> DeviceTime[float]:
        """GPU-seconds and core-seconds of device time (attempts,) on each attempt's labelers."""
        seconds = [int(each) / 1e9 for each in device_ns]
        pairs = list(zip(seconds, self.attempts, strict=True))
        return DeviceTime(
            gpu_s=math.fsum(each * attempt.labeler_gpus for each, attempt in pairs),
            core_s=math.fsum(each * attempt.labeler_cpus for each, attempt in pairs),
        )

    def spans(self) -> list[Span]:
        """Begin and end of each attempt; a killed attempt ends with its last row."""
        return [
            Span(began / 1e3, max(began, last if each.ended is None else _ms(each.ended)) / 1e3)
            for each, began, last in zip(
                self.attempts, self._began_ms.tolist(), self.last_ms.tolist(), strict=True
            )
        ]

    def held(self) -> DeviceTime[float]:
        """GPU-seconds and core-seconds of the whole cluster during the attempts."""
        pairs = list(zip(self.spans(), self.attempts, strict=True))
        return DeviceTime(
            gpu_s=math.fsum(span.seconds * each.gpus for span, each in pairs),
            core_s=math.fsum(span.seconds * each.cpus for span, each in pairs),
        )


def _ms(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
