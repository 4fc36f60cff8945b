"""The labeler pool's actor in a sweep: every unit through several prunings of one model.

It is a plain class that runs without Ray.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pyarrow as pa

import sta
from workers.actor_stats import LABEL, ActorTotals, StageName
from workers.decoded_rows import DecodedRows
from workers.devices import device_name
from workers.inference.labeler import (
    EvaluatedViews,
    Labeler,
    LabelerConfig,
)
from workers.inference.reduction import SweepVariant, TokenReduction
from workers.inference.top_classes import top_classes
from workers.sampling import Protocol
from workers.sweep_schema import SWEEP_SCHEMA


class SweepActor:
    """Turns decoded rows into rows of SWEEP_SCHEMA, with one model pruned in several ways.

    Each call runs every variant over all its units, so that all variants get the same pixels from
    one decode, and other load on the machine slows all of them alike.

    Args:
        config: model and batch size; its pruning is ignored.
        protocol: how videos become views.
        progress: called with each result table.
        variants: the prunings by name, or other methods, in the order of a row's entries.
    """

    stage: ClassVar[StageName] = LABEL
    missing: tuple[str, ...] = ()

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        progress: Callable[[pa.Table], None] | None = None,
        *,
        variants: Mapping[str, SweepVariant],
    ) -> None:
        if not variants:
            raise ValueError("a sweep needs at least one pruning; got none")
        self._progress = progress
        self._labelers = {
            name: Labeler(_configured(config, variant), protocol)
            for name, variant in variants.items()
        }
        self._num_views = 0

    @property
    def totals(self) -> ActorTotals:
        """Views of all variants so far, and the slots of their batches."""
        slots = sum(each.batch_size * each.engine.batches for each in self._labelers.values())
        return ActorTotals(views=self._num_views, slots=slots)

    @property
    def device(self) -> str:
        """Name of the device it computes on."""
        return device_name(next(iter(self._labelers.values())).engine.device)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """A table of SWEEP_SCHEMA with the same units in the same order.

        Raises:
            IdMismatch: the result is not of the same units.
        """
        rows = DecodedRows(decoded)
        for index in rows.frames:
            rows.rows[index]["sweep"] = []
        for name, labeler in self._labelers.items():
            stream = labeler.stream(rows.frames.values())
            for index, evaluated in zip(rows.frames, stream, strict=True):
                self._num_views += len(evaluated.views)
                rows.rows[index]["sweep"].append(_entry(name, evaluated))
        table = rows.table(SWEEP_SCHEMA)
        if self._progress is not None:
            self._progress(table)
        return table


def _configured(config: LabelerConfig, variant: SweepVariant) -> LabelerConfig:
    if isinstance(variant, TokenReduction):
        return dataclasses.replace(config, pruning=sta.Pruning(), reduction=variant)
    return dataclasses.replace(config, pruning=variant)


def _entry(name: str, evaluated: EvaluatedViews) -> dict[str, Any]:
    """The result of one variant for one unit."""
    ids, _ = top_classes(evaluated.mean_probabilities(), 1)
    return {
        "variant": name,
        "label_id": ids[0],
        "probabilities": evaluated.probabilities().reshape(-1),
        "flops": evaluated.flops,
        "device_ms": evaluated.device_ms,
    }
