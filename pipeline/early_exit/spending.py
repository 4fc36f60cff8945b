"""What the rows of a run have cost so far, by slice."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.prices import DeviceTime, Prices, Used, WorkCost
from pipeline.run.attempt_rows import AttemptRows
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import Attempt
from pipeline.run.run_tables import read_table, read_tables
from pipeline.run.slices import FILES_AT_ONCE, Slice, slice_numbers
from pipeline.run.sums import exact_sum, filled, nanoseconds, total
from pipeline.storage.location import Location
from workers.failures import ErrorType
from workers.inference.early_exit import EarlyExit
from workers.schema import UNITS_SCHEMA

_COLUMNS = ["unit_id", "status", "error_type", "flops", "decode_ms", *AttemptRows.COLUMNS]
_COLUMNS += ["views.list.element.clip"]
_RETRYABLE = pa.array([str(reason) for reason in ErrorType if reason.retryable])


@dataclass(frozen=True)
class Spending:
    """What the rows of a slice have cost.

    Attributes:
        units: rows.
        labeled: those with a label.
        retryable: failed ones that --retry-failed retries.
        views: evaluated.
        flops: multiply-accumulates of these views.
        gpu_s: GPU-seconds of labeling, the shadow sample apart.
        core_s: core-seconds of labelers without GPUs, likewise.
        decode_s: CPU time of fetching and decoding, seconds.
    """

    units: int = 0
    labeled: int = 0
    retryable: int = 0
    views: int = 0
    flops: int = 0
    gpu_s: float = 0.0
    core_s: float = 0.0
    decode_s: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        """Both together."""
        return Spending(*map(operator.add, astuple(self), astuple(other)))

    def cost(self, prices: Prices) -> WorkCost[float]:
        """Money for labeling and decoding; a budget does not cover reading."""
        time = DeviceTime(self.gpu_s, self.core_s)
        return prices.work(Used(time, self.decode_s, bytes_read=0.0, gets=0.0))


def spending(
    run: RunDirectory, slices: Sequence[Slice], attempts: Sequence[Attempt]
) -> list[Spending]:
    """What the rows of every slice have cost; several files are read at once."""

    def of_file(file: Location) -> list[Spending]:
        rows = read_table(file, UNITS_SCHEMA, _COLUMNS)
        numbers = slice_numbers(rows["unit_id"].to_pylist(), slices)
        return [_spent(rows.filter(pa.array(numbers == each.number)), attempts) for each in slices]

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        files = list(pool.map(of_file, run.units.files(".parquet")))
    return [sum((file[each.number] for file in files), Spending()) for each in slices]


def _spent(rows: pa.Table, attempts: Sequence[Attempt]) -> Spending:
    by_attempt = AttemptRows(attempts)
    by_attempt.add(rows)
    labeling = by_attempt.device_time(by_attempt.device_ns)
    return Spending(
        units=rows.num_rows,
        labeled=total(pc.equal(rows["status"], "ok")),
        retryable=total(pc.is_in(rows["error_type"], value_set=_RETRYABLE)),
        views=total(pc.list_value_length(rows["views"])),
        flops=exact_sum(filled(rows["flops"])),
        gpu_s=labeling.gpu_s,
        core_s=labeling.core_s,
        decode_s=exact_sum(nanoseconds(rows["decode_ms"], 1e6)) / 1e9,
    )


def count_stopped_by_budget(
    run: RunDirectory, slices: Sequence[Slice], early_exits: Sequence[EarlyExit], *, views: int
) -> int:
    """Videos that reached the view limit of their slice below the threshold.

    Args:
        run: a run with early exit.
        slices: its slices.
        early_exits: of the slices.
        views: of the protocol.
    """
    found = 0
    for rows in read_tables(run.units, UNITS_SCHEMA, ["unit_id", "margins"]):
        seen_rows = rows.filter(pc.is_valid(rows["margins"])).combine_chunks()
        numbers = slice_numbers(seen_rows["unit_id"].to_pylist(), slices)
        seen = np.asarray(pc.list_value_length(seen_rows["margins"]))
        last = np.asarray(pc.list_flatten(seen_rows["margins"]), np.float64)[np.cumsum(seen) - 1]
        for number, early_exit in enumerate(early_exits):
            mine = numbers == number
            unlimited = EarlyExit(early_exit.threshold)
            stops = unlimited.should_stop_each(last[mine], seen=seen[mine], views=views)
            found += int((~stops).sum())
    return found
