"""What the labeler pool of a sweep run does: every unit through several prunings of one model.

It knows nothing of Ray and can be called, timed and tested by itself.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

import sta
from workers.devices import device_name
from workers.inference.labeler import IdMismatch, Labeler, LabelerConfig, View, top_classes
from workers.inference.views import frames_of
from workers.sampling import Protocol
from workers.schema import IDENTITY, OUTCOME
from workers.sweep_schema import SWEEP_SCHEMA

_COMMON = [field.name for field in (*IDENTITY, *OUTCOME)]


class SweepActor:
    """Decoded rows to rows of SWEEP_SCHEMA, through one model pruned in several ways.

    The variants take turns over all units of a call, so that all see the same pixels from one
    decode and whatever else the machine does meanwhile falls on all of them.

    Args:
        config: model and batch size; its pruning is not looked at.
        protocol: how videos become views.
        progress: called with each table that was made.
        variants: the prunings by name, in the order of a row's entries.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        progress: Callable[[pa.Table], None] | None = None,
        *,
        variants: Mapping[str, sta.Pruning],
    ) -> None:
        if not variants:
            raise ValueError("a trial needs at least one pruning")
        self._views = protocol.views
        self._progress = progress
        self._labelers = {
            name: Labeler(dataclasses.replace(config, pruning=pruning), protocol)
            for name, pruning in variants.items()
        }

    @property
    def variants(self) -> int:
        """How many prunings it tries."""
        return len(self._labelers)

    @property
    def views(self) -> int:
        """Views of a unit that was decoded."""
        return self._views

    @property
    def batch_size(self) -> int:
        """Views per forward pass."""
        return next(iter(self._labelers.values())).batch_size

    @property
    def device(self) -> str:
        """What it computes on, by name."""
        return device_name(next(iter(self._labelers.values())).engine.device)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """A table of SWEEP_SCHEMA with the same units in the same order.

        Raises:
            IdMismatch: the rows are not those of the units that were asked for.
        """
        rows = decoded.select(_COMMON).to_pylist()
        good = [index for index, row in enumerate(rows) if row["status"] == "ok"]
        frames = [frames_of(decoded, index) for index in good]
        for index in good:
            rows[index]["sweep"] = []
        for name, labeler in self._labelers.items():
            for index, views in zip(good, labeler.stream(frames), strict=True):
                rows[index]["sweep"].append(_tried(name, views))
        now = datetime.datetime.now(datetime.UTC)
        table = pa.Table.from_pylist(
            [row | {"labeled_at": now} for row in rows], schema=SWEEP_SCHEMA
        )
        if table["unit_id"].to_pylist() != decoded["unit_id"].to_pylist():
            raise IdMismatch("the tried units are not the decoded ones")
        if self._progress is not None:
            self._progress(table)
        return table


def _tried(name: str, views: list[View]) -> dict[str, Any]:
    """What one variant says of one unit."""
    probabilities = np.stack([view.probabilities for view in views])
    ids, _ = top_classes(probabilities.mean(axis=0, dtype=np.float64), 1)
    return {
        "variant": name,
        "label_id": ids[0],
        "probabilities": probabilities.reshape(-1),
        "flops": sum(view.flops for view in views),
        "device_ms": sum(view.device_ms for view in views),
    }
