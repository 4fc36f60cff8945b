"""The labeler pool's actor: decoded rows in, labeled rows out, one for one.

It is a plain class that runs without Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from workers.actor_stats import LABEL, ActorTotals, StageName
from workers.decoded_rows import DecodedRows
from workers.devices import device_name
from workers.embeddings import Vectors, with_embeddings
from workers.further_clips import FurtherClips
from workers.inference.adaptive import AdaptiveLabeler
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import (
    EvaluatedViews,
    Labeler,
    LabelerConfig,
    pack_mask,
)
from workers.inference.top_classes import top_classes
from workers.inference.unpruned_sample import Shadow, in_sample
from workers.sampling import Protocol
from workers.schema import PREDICTION, UNITS_SCHEMA

Progress = Callable[[pa.Table], None]

_PREDICTED = [field.name for field in PREDICTION]


class LabelActor:
    """Turns decoded rows into labeled rows with one model, and a sample with the unpruned one too.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        progress: called with each result table.
        shadow: the sample that is labeled without pruning too, by all views; None for none.
        early_exit: when to stop evaluating views of a unit; None to evaluate all.
        further: decodes further clips of units that were decoded in part; None if none are.
    """

    stage: ClassVar[StageName] = LABEL
    missing: tuple[str, ...] = ()

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        progress: Progress | None = None,
        *,
        shadow: Shadow | None = None,
        early_exit: EarlyExit | None = None,
        further: FurtherClips | None = None,
    ) -> None:
        self._labeler: Labeler = (
            Labeler(config, protocol)
            if early_exit is None
            else AdaptiveLabeler(config, protocol, early_exit)
        )
        self._stores_embeddings = config.embeddings
        self._progress = progress
        self._further = further
        self._shadow = shadow
        self._unpruned = Labeler(shadow.labeler, protocol) if shadow is not None else None
        self._num_views = 0

    @property
    def totals(self) -> ActorTotals:
        """Views so far and the slots of their batches, without those of the shadow sample."""
        slots = self._labeler.batch_size * self._labeler.engine.batches
        return ActorTotals(views=self._num_views, slots=slots, idle_s=self._labeler.waited_s)

    @property
    def device(self) -> str:
        """Name of the device it computes on."""
        return device_name(self._labeler.engine.device)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """A table of UNITS_SCHEMA with the same units in the same order.

        Raises:
            IdMismatch: the result is not of the same units.
        """
        rows = DecodedRows(decoded, self._further)
        vectors: list[Vectors] = []
        stream = self._labeler.stream(rows.frames.values())
        for index, evaluated in zip(rows.frames, stream, strict=True):
            if evaluated.views:
                rows.rows[index] |= self._labeled(evaluated, rows.times[index])
            if self._stores_embeddings:
                vectors += [each.features for each in evaluated.views if each.features is not None]
            self._num_views += len(evaluated.views)
        if self._unpruned is not None:
            self._label_shadow(self._unpruned, rows)
        table = rows.table(UNITS_SCHEMA)
        if vectors:
            table = with_embeddings(table, vectors)
        if self._progress is not None:
            self._progress(table)
        return table

    def _label_shadow(self, unpruned: Labeler, rows: DecodedRows) -> None:
        """Adds the unpruned model's results to the rows of the sample."""
        assert self._shadow is not None
        share = self._shadow.share
        chosen = {
            i: frames for i, frames in rows.frames.items() if in_sample(frames.unit_id, share)
        }
        for index, evaluated in zip(chosen, unpruned.stream(chosen.values()), strict=True):
            row = rows.rows[index]
            mean = evaluated.mean_probabilities()
            prediction = self._prediction(mean)
            row |= {f"unpruned_{name}": prediction[name] for name in _PREDICTED} | {
                "unpruned_scores": mean.tolist(),
                "unpruned_flops": evaluated.flops,
                "unpruned_device_ms": evaluated.device_ms,
            }
            labels = {
                (view.clip, view.crop): top_classes(view.probabilities, 1)[0][0]
                for view in evaluated.views
            }
            for entry in row["views"]:
                entry["unpruned_label_id"] = labels[entry["clip"], entry["crop"]]

    def _labeled(
        self, evaluated: EvaluatedViews, times: Mapping[int, tuple[float, float]]
    ) -> dict[str, Any]:
        """The columns of a labeled unit; `times`: start and end of each clip, seconds."""
        entries = []
        for view in evaluated.views:
            entries.append(
                self._prediction(view.probabilities)
                | {
                    "clip": view.clip,
                    "crop": view.crop,
                    "start_s": times[view.clip][0],
                    "end_s": times[view.clip][1],
                    "flops": view.flops,
                    "tokens_kept": [int(mask.sum()) for mask in view.kept],
                    "kept_token_maps": [pack_mask(mask) for mask in view.kept],
                    "device_ms": view.device_ms,
                }
            )
        mean = evaluated.mean_probabilities()
        return self._prediction(mean) | {
            "scores": mean.tolist(),
            "margins": evaluated.margins,
            "flops": evaluated.flops,
            "device_ms": evaluated.device_ms,
            "views": entries,
        }

    def _prediction(self, probabilities: np.ndarray) -> dict[str, object]:
        ids, scores = top_classes(probabilities)
        return {
            "label": self._labeler.engine.labels[ids[0]],
            "label_id": ids[0],
            "score": scores[0],
            "top_ids": ids,
            "top_scores": scores,
        }
