"""What units/ tells beyond the flat tables: when rows were made, and what failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.run.rows import column_batches
from pipeline.run.run_directory import RunDirectory
from workers.schema import UNITS_SCHEMA

Floats = npt.NDArray[np.float64]

EXAMPLES = 3

_NAMES = (
    "video_id", "uri", "start_s", "end_s", "status", "error_type", "error", "duration_s",
    "labeled_at",
)  # fmt: skip
_EXAMPLE = ("video_id", "uri", "start_s", "end_s", "error")


@dataclass
class UnitFigures:
    """What units/ holds.

    Attributes:
        units: rows.
        failures: failed units by reason.
        examples: a few of them by reason: video_id, uri, start_s, end_s, error.
        at: (n,) when each labeled unit's row was made, seconds since the epoch; only those of
            which it is known.
        video_s: (n,) length of video in each of these, seconds.
    """

    units: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    at: Floats = field(default_factory=lambda: np.zeros(0))
    video_s: Floats = field(default_factory=lambda: np.zeros(0))


def read_units(run: RunDirectory) -> UnitFigures:
    """Reads units/ once, but for the views."""
    figures = UnitFigures()
    times: list[tuple[Floats, Floats]] = []
    for batch in column_batches(run.units, UNITS_SCHEMA, _NAMES):
        figures.units += batch.num_rows
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
