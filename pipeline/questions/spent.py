"""What the runs of a question took, in time and money, and what a run of everything would take.

The sums are those of the cost report, over all rows that the runs record. Work is device time of
forward passes and CPU time of decoding; it has no start of actors in it. The cluster is what
the attempts held, busy or not, and each round starts actors anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.inputs.manifest import count_rows
from pipeline.labeling.run import finished
from pipeline.prices import DeviceTime, Prices, Used
from pipeline.questions.columns import Groups
from pipeline.questions.series import Series
from pipeline.questions.unit_work import UnitWork, Work
from pipeline.reports.cost.reserved import cluster_use, held
from pipeline.reports.cost.runs import ComparedRun
from pipeline.reports.cost.shared import RunRows, Shared, read_rows
from pipeline.run.attempt_rows import AttemptRows
from pipeline.run.run_record import RunRecord

_NOTHING_SHARED = Shared(pa.array([], pa.string()), 0, ())


@dataclass(frozen=True)
class Spent:
    """What labeling took.

    Attributes:
        units: that have a row.
        gpu_s: GPU-seconds of labeling.
        core_s: core-seconds of decoding, and of labeling on CPUs.
        wall_s: duration of all attempts together; None if not known.
        start_s: part of that before the first row of each attempt and after its last.
        attempts: how many.
        work: money for the work; None without prices.
        cluster: money for the cluster, busy or not; None without prices or if not known.
    """

    units: int
    gpu_s: float
    core_s: float
    wall_s: float | None
    start_s: float
    attempts: int
    work: float | None
    cluster: float | None

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            self.units + other.units,
            self.gpu_s + other.gpu_s,
            self.core_s + other.core_s,
            _sum(self.wall_s, other.wall_s),
            self.start_s + other.start_s,
            self.attempts + other.attempts,
            _sum(self.work, other.work),
            _sum(self.cluster, other.cluster),
        )


@dataclass(frozen=True)
class QuestionCost:
    """What a question took of one input.

    Attributes:
        reference: by the reference; None where people are.
        proxy: by the proxy; None without a run of its own.
        runs: both together.
        all: a run of everything by the reference, extrapolated from the units that it labeled; its
            own sums where those are all; None without a reference.
        currency: of the money; None without prices.
        further: units of the runs beyond those that the answer rests on, which other questions or
            a labeling job had labeled.
    """

    reference: Spent | None
    proxy: Spent | None
    runs: Spent
    all: Spent | None
    currency: str | None
    further: int

    @property
    def is_extrapolated(self) -> bool:
        """Whether `all` is not what was labeled."""
        return self.all is not None and self.all is not self.reference


def question_cost(
    reference: Series | None, proxy: Series | None, groups: Groups, *, rests_on: int
) -> QuestionCost | None:
    """What the runs of a question record; None where nothing was labeled.

    Args:
        reference: None where people are the reference.
        proxy: None without one.
        groups: of the units of the input.
        rests_on: units of both runs that the answer rests on.

    Raises:
        OSError, pa.ArrowException: tables of a run cannot be read.
    """
    records = [None if each is None else recorded(each) for each in (reference, proxy)]
    prices = next((each.prices for each in records if each is not None and each.prices), None)
    read = [
        None if series is None or record is None else _read(series, record)
        for series, record in zip((reference, proxy), records, strict=True)
    ]
    by_reference, by_proxy = (None if each is None else _spent(*each, prices) for each in read)
    spent = [each for each in (by_reference, by_proxy) if each is not None]
    if not spent:
        return None
    every = None
    if reference is not None and by_reference is not None and read[0] is not None:
        every = by_reference
        if by_reference.units < sum(groups.units):
            used = UnitWork.read(reference.run, groups).of_all(groups)
            every = _of_all(used, read[0][0].attempts, sum(groups.units), prices)
    runs = spent[0] if len(spent) == 1 else spent[0] + spent[1]
    return QuestionCost(
        reference=by_reference,
        proxy=by_proxy,
        runs=runs,
        all=every,
        currency=None if prices is None else prices.currency,
        further=max(0, runs.units - rests_on),
    )


def recorded(series: Series) -> RunRecord | None:
    """The record of a series that has labeled, with the prices of the question; None before that.

    Prices that are new are saved in the run, whose report is drawn again.
    """
    run, prices = series.run, series.options.prices
    if not run.exists() or not run.success.exists():
        return None
    record = run.load()
    if prices is not None and record.prices != prices:
        record = finished(run, series.options)
    return record if record.attempts else None


def _read(series: Series, record: RunRecord) -> tuple[RunRows, int]:
    """Sums of a run as the cost report has them, and its units."""
    run = ComparedRun(series.run.root.uri, series.run, record)
    return read_rows(run, _NOTHING_SHARED), count_rows(series.run.units)


def _spent(rows: RunRows, units: int, prices: Prices | None) -> Spent:
    reserved = held(rows.attempts)
    use = cluster_use(rows, reserved, prices)
    return Spent(
        units=units,
        gpu_s=use.used_gpu_s,
        core_s=use.used_core_s,
        wall_s=reserved.wall_s,
        start_s=reserved.wall_s - sum(rows.attempts.making()),
        attempts=reserved.attempts,
        work=None if prices is None else prices.work(rows.whole_used).total,
        cluster=use.cost,
    )


def _of_all(used: Used[float], rows: AttemptRows, units: int, prices: Prices | None) -> Spent:
    """One attempt at all units, at the pace of those that have a row."""
    making = np.array(rows.making())
    # The rows that came first took an attempt's start, not its pace.
    paced = int(rows.rows.sum() - rows.first_rows.sum())
    start = np.array([span.seconds for span in rows.spans()]) - making
    each_s = start / len(start) + (making * units / paced if paced else np.inf)
    cluster = None
    if prices is not None and paced:
        time = DeviceTime(
            float(each_s @ [each.gpus for each in rows.attempts]),
            float(each_s @ [each.cpus for each in rows.attempts]),
        )
        cluster = prices.cluster(time, used.bytes_read, used.gets)
    work = Work.of(used, prices)
    return Spent(
        units=units,
        gpu_s=work.gpu_s,
        core_s=work.core_s,
        wall_s=float(each_s.sum()) if paced else None,
        start_s=float(start.mean()),
        attempts=1,
        work=work.money,
        cluster=cluster,
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
