"""Agreement with the unpruned model in the shadow sample: by unit, in timelines by view."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.agreement import Estimate, ratio, share
from pipeline.run_report.sums import exact, total

# Units of a timeline that the bootstrap draws one by one; more are drawn in groups.
_GROUPS = 20_000


class Shadow:
    """What the shadow sample adds up to.

    Attributes:
        units: units in the sample.
        agreeing: those with the same label both times.
        flops: multiply-accumulates of the labelling without pruning.
        gpu_ms: device time of that, milliseconds.
    """

    def __init__(self) -> None:
        self.units = 0
        self.agreeing = 0
        self.flops = 0
        self.gpu_ms = 0.0
        self._views: dict[str, tuple[int, int]] = {}

    def add_units(self, units: pa.RecordBatch) -> None:
        """Adds rows of units/."""
        sample = units.filter(pc.is_valid(units["shadow_label_id"]))
        self.units += sample.num_rows
        self.agreeing += total(pc.equal(sample["label_id"], sample["shadow_label_id"]))
        self.flops += exact(sample["shadow_flops"])
        self.gpu_ms += total(sample["shadow_gpu_ms"])

    def add_views(self, views: pa.RecordBatch) -> None:
        """Adds rows of clips/: unit_id, label_id, shadow_label_id."""
        sample = views.filter(pc.is_valid(views["shadow_label_id"]))
        same = pc.equal(sample["label_id"], sample["shadow_label_id"]).cast(pa.int64())
        table = pa.table({"unit": sample["unit_id"], "same": same})
        sums = table.group_by("unit").aggregate([("same", "count"), ("same", "sum")])
        for row in sums.to_pylist():
            count, agreeing = self._views.get(row["unit"], (0, 0))
            self._views[row["unit"]] = count + row["same_count"], agreeing + row["same_sum"]

    @property
    def views(self) -> int:
        """Views that were added."""
        return sum(count for count, _ in self._views.values())

    @property
    def views_agreeing(self) -> int:
        """Those with the same label both times."""
        return sum(agreeing for _, agreeing in self._views.values())

    def by_unit(self) -> Estimate:
        """The share of units with the same label."""
        return share(self.agreeing, self.units)

    def by_view(self) -> Estimate:
        """The share of views with the same label; those of a unit are drawn together."""
        counts = self._views.values()
        agreeing = _grouped(agreeing for _, agreeing in counts)
        return ratio(agreeing, _grouped(count for count, _ in counts))


def _grouped(values: Iterable[int]) -> np.ndarray:
    """Sums over at most so many groups: neighbours fall into different ones."""
    every = np.fromiter(values, np.float64)
    return np.bincount(np.arange(len(every)) % _GROUPS, weights=every)
