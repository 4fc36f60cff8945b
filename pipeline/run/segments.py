"""Builds the rows of videos/ for long videos from their segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.run.run_directory import RunDirectory
from pipeline.run.sampled import tables_to_label
from sta.heads import FEATURE_DTYPE
from workers.inference.top_classes import top_classes
from workers.schema import EMBEDDING

_SUMMED = (
    "flops",
    "device_ms",
    "decode_ms",
    "bytes_read",
    "frame_count",
    "lost_frames",
    "duration_s",
    "decoded_clips",
)
_SHADOW_SUMMED = ("unpruned_flops", "unpruned_device_ms")


def has_failed(units: Any, failed: Any) -> Any:
    """Whether a video fails, given its numbers of units and of failed units: more than half failed.

    Damage within a unit has the same limit. Works on numbers and on arrays.
    """
    return 2 * failed > units


@dataclass
class _Sums:
    """Sums over the segments of one video that were added so far."""

    units: int = 0
    failed: int = 0
    clips: int = 0
    attempts: int = 0
    scores: np.ndarray | None = None
    embedding: np.ndarray | None = None
    sums: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, unit: dict[str, Any], views: int, embedding: np.ndarray | None) -> None:
        self.units += 1
        self.attempts = max(self.attempts, unit["attempts"])
        for name in (*_SUMMED, *_SHADOW_SUMMED):
            self.sums[name] += unit[name] or 0
        if unit["status"] == "failed":
            self.failed += 1
            self.errors[unit["error_type"], unit["error"]] += 1
            return
        self.clips += views
        weighted = np.array(unit["scores"], dtype=np.float64) * views
        self.scores = weighted if self.scores is None else self.scores + weighted
        if embedding is not None:
            self.embedding = embedding if self.embedding is None else self.embedding + embedding


class SegmentedVideos:
    """Adds up segments by video; a video's row is made when its last segment is added.

    Args:
        run: the run; its manifest gives the number of segments of each video.
        labels: names of the classes.
    """

    def __init__(self, run: RunDirectory, labels: Sequence[str]) -> None:
        self._labels = labels
        self._places = {label: place for place, label in reversed(list(enumerate(labels)))}
        self._expected = _segments_by_video(run)
        self._open: dict[str, _Sums] = {}

    def add(self, units: pa.Table, embeddings: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Adds segments and returns the rows of videos that are now complete.

        Args:
            units: of UNITS_SCHEMA.
            embeddings: (units, d) sums over the views of each; None where none are stored.
        """
        views = pc.fill_null(pc.list_value_length(units["views"]), 0).to_pylist()
        rows = []
        entries = units.drop_columns(["views"]).to_pylist()
        sums_of = [None] * len(entries) if embeddings is None else list(embeddings)
        for unit, count, embedding in zip(entries, views, sums_of, strict=True):
            video = unit["video_id"]
            sums = self._open.setdefault(video, _Sums())
            sums.add(unit, count, embedding)
            if sums.units == self._expected[video]:
                rows.append(self._row(unit, self._open.pop(video)))
        return rows

    def _row(self, unit: dict[str, Any], sums: _Sums) -> dict[str, Any]:
        """The row of a video; `unit` is one of its segments."""
        row = {
            "video_id": unit["video_id"],
            "uri": unit["uri"],
            "part": unit["part"],
            "size_bytes": unit["size_bytes"],
            "etag": unit["etag"],
            "ground_truth": unit["ground_truth"],
            "ground_truth_id": self._places.get(unit["ground_truth"]),
            "num_views": sums.clips,
            "attempts": sums.attempts,
            "units": sums.units,
            "units_failed": sums.failed,
            **{name: sums.sums[name] for name in _SUMMED},
            **{name: sums.sums[name] or None for name in _SHADOW_SUMMED},
        }
        if has_failed(sums.units, sums.failed):
            (kind, words), count = sums.errors.most_common(1)[0]
            said = f"{sums.failed} of {sums.units} segments failed, {count} of them: {words}"
            return row | {"status": "failed", "error_type": kind, "error": said}
        assert sums.scores is not None
        ids, scores = top_classes(sums.scores / sums.clips)
        prediction = {"label": self._labels[ids[0]], "label_id": ids[0], "score": scores[0]}
        row |= prediction | {"status": "ok", "top_ids": ids, "top_scores": scores}
        if sums.embedding is not None:
            row[EMBEDDING] = (sums.embedding / sums.clips).astype(FEATURE_DTYPE)
        return row


def _segments_by_video(run: RunDirectory) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in tables_to_label(run, ["video_id", "start_s"]):
        counts.update(part.filter(pc.is_valid(part["start_s"]))["video_id"].to_pylist())
    return counts
