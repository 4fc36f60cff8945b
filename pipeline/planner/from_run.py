"""Rates from a finished run: its rows and its stage statistics."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.execution.stage_stats import Stages
from pipeline.planner.local_pools import LocalPools, ray_memory
from pipeline.planner.rates import (
    EARLY_EXIT,
    PRUNED,
    UNPRUNED,
    DecodeCosts,
    LabelingRate,
    Machine,
    MeasuredRates,
    Workload,
)
from pipeline.planner.stride_sample import StrideSample
from pipeline.planner.unit_costs import Floats
from pipeline.run.devices import device_words, ran_on_gpu
from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.parquet_files import parquet_file
from workers.decoding.types import DECODE_MODES
from workers.sampling import Protocol

_COLUMNS = [
    "status",
    "error_type",
    "size_bytes",
    "bytes_read",
    "decode_ms",
    "duration_s",
    "device_ms",
]
_BATCH_ROWS = 4096
_MAX_ROWS = 20_000

# Seconds that a run does not record, measured on two cores: loading the libraries, and loading the
# libraries and the model.
_LIBRARIES_S = 1.8
_LABELER_S = 2.5


@dataclass(frozen=True)
class FinishedRun:
    """Rates and settings of a finished run.

    Attributes:
        rates: of its machines.
        work: what it labeled.
        protocol: how videos became views.
        pools: of its last attempt.
        checkpoint: the weights, without secrets.
        identity: of the run.
        early_exit: the early-exit file that its command named; None without one.
    """

    rates: MeasuredRates
    work: Workload
    protocol: Protocol
    pools: LocalPools
    checkpoint: str
    identity: Identity
    early_exit: str | None


def finished_run(run: RunDirectory) -> FinishedRun:
    """Reads a run; holds an even sample of its rows in memory.

    Raises:
        UsageError: it is not finished, or nothing of it was labeled.
    """
    run.check_labels()
    record = run.load()
    totals = record.totals
    if not run.success.exists() or totals is None:
        raise UsageError(
            f"{run.root.uri} is not finished; run its command again, or give videos as INPUT"
        )
    try:
        stages = Stages.from_json(totals.stages or {})
    except (KeyError, TypeError):
        stages = Stages()
    if not stages.are_measured:
        raise UsageError(f"{run.root.uri} has no stage statistics to take rates from")
    on_gpu = bool(record.attempts) and ran_on_gpu(record.attempts[-1])
    rows, failed = _rows(run)
    labelings = _labelings(record, stages, rows, failed, on_gpu=on_gpu)
    rates = MeasuredRates(
        labelings=labelings,
        unpruned_s=_unpruned_s(record, labelings[0]),
        threads=None if on_gpu else max(1, int(record.attempts[-1].labeler_cpus)),
        machine=_machine(record, stages, on_gpu=on_gpu),
        started_s=_LIBRARIES_S,
        known_from=f"the run {run.root.uri}: {stages.label.units:,} units labeled in one attempt",
    )
    work = Workload(
        videos=totals.videos,
        units=totals.units,
        video_s=totals.video_seconds,
        bytes=float(totals.bytes_read),
        known_from="the videos of the run",
    )
    return FinishedRun(
        rates,
        work,
        protocol=record.identity.protocol,
        pools=LocalPools(stages.decode.actors, stages.label.actors),
        checkpoint=record.model.checkpoint,
        identity=record.identity,
        early_exit=record.flags.get("early_exit"),
    )


def _machine(record: RunRecord, stages: Stages, *, on_gpu: bool) -> Machine:
    """One of the run's machines, which are assumed to be alike.

    Their memory is not recorded and assumed to be this machine's; it only limits how far decoders
    run ahead.
    """
    device = record.device
    nodes = max(1, device.nodes if device is not None else 1)
    cpus = max(1, int((device.cpus if device is not None else stages.label.actors) / nodes))
    return Machine(
        name=device_words(record) or "the run's machine",
        cpus=cpus,
        cores_left=float(cpus),
        memory=ray_memory(),
        gpus=max(1, int((device.gpus if device is not None else 1) / nodes)) if on_gpu else 0,
    )


def _rows(run: RunDirectory) -> tuple[dict[str, Floats], dict[str, int]]:
    """Columns of an even sample of the labeled units, and the failures by reason."""
    sample: StrideSample[tuple[float, ...]] = StrideSample(_MAX_ROWS)
    failed: Counter[str] = Counter()
    for file in run.units.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(batch_size=_BATCH_ROWS, columns=_COLUMNS):
                _add(batch, sample, failed)
    values = np.array(sample.kept, dtype=np.float64).reshape(-1, len(_COLUMNS) - 2).T
    return dict(zip(_COLUMNS[2:], values, strict=True)), dict(failed)


def _add(
    batch: pa.RecordBatch, sample: StrideSample[tuple[float, ...]], failed: Counter[str]
) -> None:
    for row in batch.to_pylist():
        if row["status"] == "ok":
            sample.add(tuple(float(row[name] or 0.0) for name in _COLUMNS[2:]))
        else:
            failed[row["error_type"]] += 1


def _decoded(
    rows: dict[str, Floats], stages: Stages, failed: dict[str, int], *, on_gpu: bool
) -> DecodeCosts:
    """Decode costs of the rows, the overhead of the actors included.

    With labelers on CPUs a decoder waits for cores, which the simulation models itself. With GPUs
    it waits for storage, in proportion to bytes.
    """
    decode = stages.decode
    mean = max(1e-9, float(rows["decode_ms"].mean()))
    cpu_s = rows["decode_ms"] * (decode.cpu_s / decode.units / mean)
    waiting = max(0.0, decode.busy_s - decode.cpu_s) / decode.units if on_gpu else 0.0
    return DecodeCosts(
        size=np.where(rows["size_bytes"] > 0, rows["size_bytes"], rows["bytes_read"]),
        bytes_read=rows["bytes_read"],
        cpu_s=cpu_s,
        wait_s=waiting * _shares(rows["bytes_read"]),
        video_s=rows["duration_s"],
        failed=failed,
    )


def _labelings(
    record: RunRecord,
    stages: Stages,
    rows: dict[str, Floats],
    failed: dict[str, int],
    *,
    on_gpu: bool,
) -> tuple[LabelingRate, ...]:
    """Rate of the run, and of the unpruned model where that decodes the same: where the run decoded
    exactly and evaluated all views.
    """
    totals, label, identity = record.finished_totals, stages.label, record.identity
    share = totals.device_ms / max(1e-9, totals.device_ms + totals.unpruned_device_ms)
    used = (label.busy_s if on_gpu else label.cpu_s) * share / label.units
    name = PRUNED if identity.r else UNPRUNED
    mine = LabelingRate(
        name=name if identity.early_exit is None else EARLY_EXIT,
        r=identity.r,
        unit_s=used,
        start_s=_LABELER_S,
        known_from="the run",
        decoded=_decoded(rows, stages, failed, on_gpu=on_gpu),
        views=_views(record),
        label_shares=_shares(rows["device_ms"]),
    )
    if mine.name != PRUNED or identity.decode != DECODE_MODES[0]:
        return (mine,)
    units = totals.unpruned_units
    known = f"a shadow sample of {units:,} units" if units else "FLOPs"
    unpruned = dataclasses.replace(
        mine, name=UNPRUNED, r=0, unit_s=_unpruned_s(record, mine), known_from=known
    )
    return mine, unpruned


def _unpruned_s(record: RunRecord, mine: LabelingRate) -> float:
    """Device time of a unit by all views unpruned: by the shadow sample, else by FLOPs."""
    totals, model = record.finished_totals, record.model
    if totals.unpruned_units:
        device_ms = totals.device_ms / _labeled(record)
        return (
            mine.unit_s * totals.unpruned_device_ms / totals.unpruned_units / max(1e-9, device_ms)
        )
    more = model.flops_per_view_unpruned / model.flops_per_view
    return mine.unit_s * more * record.identity.protocol.views / _views(record)


def _views(record: RunRecord) -> float:
    identity = record.identity
    if identity.early_exit is None:
        return identity.protocol.views
    return record.finished_totals.clips / _labeled(record)


def _labeled(record: RunRecord) -> int:
    totals = record.finished_totals
    return max(1, totals.units - sum(totals.unit_failures.values()))


def _shares(values: Floats) -> Floats:
    mean = float(values.mean())
    return values / mean if mean > 0 else np.ones_like(values)
