"""Figures from units/ that the flat tables lack: failures, and when rows were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.run.rows import column_batches
from pipeline.run.attempt_rows import AttemptRows
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import Attempt
from workers.schema import UNITS_SCHEMA

Floats = npt.NDArray[np.float64]

EXAMPLES = 3

_NAMES = (
    "video_id", "uri", "start_s", "end_s", "status", "error_type", "error", "duration_s",
    *AttemptRows.COLUMNS,
)  # fmt: skip
_EXAMPLE = ("video_id", "uri", "start_s", "end_s", "error")


@dataclass
class UnitFigures:
    """What units/ holds.

    Attributes:
        units: rows.
        failures: failed units by reason.
        examples: a few of them by reason: video_id, uri, start_s, end_s, error.
        by_attempt: sums by attempt; None where run.json records no attempt.
        at: (n,) when each labeled unit's row was made, seconds since the epoch; only those of
            which it is known.
        video_s: (n,) length of video in each of these, seconds.
    """

    units: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    by_attempt: AttemptRows | None = None
    at: Floats = field(default_factory=lambda: np.zeros(0))
    video_s: Floats = field(default_factory=lambda: np.zeros(0))


def read_units(run: RunDirectory, attempts: Sequence[Attempt]) -> UnitFigures:
    """Reads units/ once, without the views."""
    figures = UnitFigures(by_attempt=AttemptRows(attempts) if attempts else None)
    times: list[tuple[Floats, Floats]] = []
    for batch in column_batches(run.units, UNITS_SCHEMA, _NAMES):
        figures.units += batch.num_rows
        if figures.by_attempt is not None:
            figures.by_attempt.add(batch)
        _add_failures(figures, batch)
        ok = batch.filter(pc.equal(batch["status"], "ok"))
        known = ok.filter(pc.is_valid(ok["labeled_at"]))
        at = np.asarray(known["labeled_at"].cast(pa.int64())) / 1000
        times.append((at, np.asarray(pc.fill_null(known["duration_s"], 0.0))))
    if times:
        figures.at, figures.video_s = map(np.concatenate, zip(*times, strict=True))
    return figures


def _add_failures(figures: UnitFigures, batch: pa.RecordBatch) -> None:
    failed = batch.filter(pc.equal(batch["status"], "failed"))
    if not failed.num_rows:
        return
    for each in pc.value_counts(failed["error_type"]).to_pylist():
        reason = each["values"]
        figures.failures[reason] += each["counts"]
        examples = figures.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            same = failed.filter(pc.equal(failed["error_type"], reason)).select(list(_EXAMPLE))
            examples += same.slice(0, EXAMPLES - len(examples)).to_pylist()
