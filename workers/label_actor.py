"""What the labeler pool runs: decoded rows in, labeled rows out, one for each.

It knows nothing of Ray and can be called, timed and tested by itself.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from workers.devices import device_name
from workers.inference.adaptive import AdaptiveLabeler, Looks
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import (
    Frames,
    IdMismatch,
    Labeler,
    LabelerConfig,
    View,
    pack_mask,
    top_classes,
)
from workers.inference.unpruned_sample import Shadow, in_sample
from workers.inference.views import frames_of
from workers.sampling import Protocol
from workers.schema import IDENTITY, OUTCOME, PREDICTION, UNITS_SCHEMA

Progress = Callable[[pa.Table], None]

_COMMON = [field.name for field in (*IDENTITY, *OUTCOME)]
_PREDICTED = [field.name for field in PREDICTION]


class LabelActor:
    """Decoded rows to labeled rows, through one model, and a sample through the unpruned one too.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        progress: called with each table that was made.
        shadow: the sample that is labeled without pruning too, by all views; None for none.
        policy: when a unit has been looked at enough; None for all views of each.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        progress: Progress | None = None,
        *,
        shadow: Shadow | None = None,
        early_exit: EarlyExit | None = None,
    ) -> None:
        self._labeler = (
            Labeler(config, protocol)
            if early_exit is None
            else AdaptiveLabeler(config, protocol, early_exit)
        )
        self._progress = progress
        self._shadow = shadow
        self._unpruned = Labeler(shadow.labeler, protocol) if shadow is not None else None

    @property
    def launches(self) -> int:
        """Batches that its labeler gave to the device so far; not those of the shadow sample."""
        return self._labeler.engine.launches

    @property
    def device(self) -> str:
        """What it computes on, by name."""
        return device_name(self._labeler.engine.device)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """A table of UNITS_SCHEMA with the same units in the same order.

        Raises:
            IdMismatch: the labels are not those of the units that were asked for.
        """
        rows = decoded.select(_COMMON).to_pylist()
        good = [index for index, row in enumerate(rows) if row["status"] == "ok"]
        frames = [frames_of(decoded, index) for index in good]
        for index, (views, margins) in zip(good, self._looks(frames), strict=True):
            times = np.array(decoded["clip_times"][index].as_py()).reshape(-1, 2)
            said = self._labeled(views, times, _first_clip(decoded, index))
            rows[index] |= said | {"margins": margins}
        if self._unpruned is not None:
            chosen = dict(zip(good, frames, strict=True))
            self._label_shadow(self._unpruned, decoded, rows, chosen)
        now = datetime.datetime.now(datetime.UTC)
        table = pa.Table.from_pylist(
            [row | {"labeled_at": now} for row in rows], schema=UNITS_SCHEMA
        )
        if table["unit_id"].to_pylist() != decoded["unit_id"].to_pylist():
            raise IdMismatch("the labeled units are not the decoded ones")
        if self._progress is not None:
            self._progress(table)
        return table

    def _looks(self, frames: list[Frames]) -> Iterator[tuple[list[View], list[float] | None]]:
        """The views of each unit that were looked at, and its margin after each; None where all are
        looked at, whatever the margin.
        """
        for looked in self._labeler.stream(frames):
            yield (looked.views, looked.margins) if isinstance(looked, Looks) else (looked, None)

    def _label_shadow(
        self,
        unpruned: Labeler,
        decoded: pa.Table,
        rows: list[dict[str, Any]],
        frames: dict[int, Frames],
    ) -> None:
        """Adds what the unpruned model says to the rows of the sample."""
        assert self._shadow is not None
        share = self._shadow.share
        chosen = [index for index in frames if in_sample(rows[index]["unit_id"], share)]
        stream = unpruned.stream([frames[index] for index in chosen])
        for index, views in zip(chosen, stream, strict=True):
            mean = _mean_probabilities(views)
            said = self._prediction(mean)
            rows[index] |= {f"unpruned_{name}": said[name] for name in _PREDICTED} | {
                "unpruned_scores": mean.tolist(),
                "unpruned_flops": sum(view.flops for view in views),
                "unpruned_device_ms": sum(view.device_ms for view in views),
            }
            labels = {(v.clip, v.crop): top_classes(v.probabilities, 1)[0][0] for v in views}
            first_clip = _first_clip(decoded, index)
            for entry in rows[index]["views"]:
                entry["unpruned_label_id"] = labels[entry["clip"] - first_clip, entry["crop"]]

    def _labeled(self, views: list[View], times: np.ndarray, first_clip: int) -> dict[str, Any]:
        entries = []
        for view in views:
            entries.append(
                self._prediction(view.probabilities)
                | {
                    "clip": first_clip + view.clip,
                    "crop": view.crop,
                    "start_s": float(times[view.clip, 0]),
                    "end_s": float(times[view.clip, 1]),
                    "flops": view.flops,
                    "tokens_kept": [int(mask.sum()) for mask in view.kept],
                    "kept_token_maps": [pack_mask(mask) for mask in view.kept],
                    "device_ms": view.device_ms,
                }
            )
        mean = _mean_probabilities(views)
        return self._prediction(mean) | {
            "scores": mean.tolist(),
            "flops": sum(view.flops for view in views),
            "device_ms": sum(view.device_ms for view in views),
            "views": entries,
        }

    def _prediction(self, probabilities: np.ndarray) -> dict[str, object]:
        ids, scores = top_classes(probabilities)
        return {
            "label": self._labeler.model.labels[ids[0]],
            "label_id": ids[0],
            "score": scores[0],
            "top_ids": ids,
            "top_scores": scores,
        }


def _mean_probabilities(views: list[View]) -> np.ndarray:
    """(classes,) float64"""
    probabilities = np.stack([view.probabilities for view in views])
    return np.asarray(probabilities.mean(axis=0, dtype=np.float64))


def _first_clip(decoded: pa.Table, index: int) -> int:
    """Number in the video of a row's first clip."""
    return decoded["first_clip"][index].as_py() or 0
