"""Counts of finished units, for the progress line and the metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.run.sums import total
from workers.failures import ErrorType

# Columns of units/ that are counted, if they exist: rows of a sweep have no labels.
COUNTED = ("error_type", "duration_s", "size_bytes", "label_id", "unpruned_label_id")


@dataclass
class Counts:
    """Counts of units that have a row.

    A row of the type `deferred` is none: its unit is tried again at the end of the run.

    Attributes:
        units: all units.
        failures: failed units by error_type.
        seconds: length of the labeled units.
        size_bytes: bytes of the files of all units whose size is known.
        shadow: units of the shadow sample, also labeled without pruning.
        agreeing: units of the shadow sample with the same label both times.
        deferred: units that are tried again at the end of the run; no part of the others.
    """

    units: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    size_bytes: int = 0
    shadow: int = 0
    agreeing: int = 0
    deferred: int = 0

    @classmethod
    def of(cls, units: pa.Table) -> Counts:
        """Counts of rows of units/, of which the columns COUNTED are read if they exist."""
        rows, units = units.num_rows, settled(units)
        shadow, agreeing = _agreement(units)
        reasons = units["error_type"].drop_null().value_counts().to_pylist()
        return cls(
            units=units.num_rows,
            failures=Counter({each["values"]: each["counts"] for each in reasons}),
            seconds=total(units["duration_s"]),
            size_bytes=total(units["size_bytes"]),
            shadow=shadow,
            agreeing=agreeing,
            deferred=rows - units.num_rows,
        )

    @property
    def failed(self) -> int:
        """Units that failed, for any reason."""
        return self.failures.total()

    @property
    def agreement(self) -> float | None:
        """Share of the shadow sample with the same label both times; None without a sample."""
        return self.agreeing / self.shadow if self.shadow else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.units + other.units,
            self.failures + other.failures,
            self.seconds + other.seconds,
            self.size_bytes + other.size_bytes,
            self.shadow + other.shadow,
            self.agreeing + other.agreeing,
            self.deferred + other.deferred,
        )

    def reasons(self) -> str:
        """The failures by reason, most frequent first: "58 not_found, 3 forbidden"."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.failures.most_common())


def settled(units: pa.Table) -> pa.Table:
    """The rows without those of the type `deferred`."""
    deferred = pc.equal(pc.fill_null(units["error_type"], ""), str(ErrorType.deferred))
    return units.filter(pc.invert(deferred)) if pc.any(deferred).as_py() else units


def _agreement(units: pa.Table) -> tuple[int, int]:
    """(rows of the shadow sample, rows of it with the same label both times)."""
    if "unpruned_label_id" not in units.column_names:
        return 0, 0
    same = pc.equal(units["label_id"], units["unpruned_label_id"])
    return pc.count(units["unpruned_label_id"]).as_py(), total(same)
