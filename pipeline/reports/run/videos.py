"""Figures from videos/: sums, damage, the slowest videos, accuracy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.run.labels import LabelFigures
from pipeline.reports.run.rows import column_batches
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sums import exact_sum, filled, nanoseconds, total
from pipeline.run.tables import VIDEOS_SCHEMA
from pipeline.run.totals import unknown_ground_truths
from pipeline.storage.addresses import IN_STORAGE

SHOWN = 10

_NAMES = (
    "video_id", "uri", "size_bytes", "status", "label", "score", "num_views", "flops", "device_ms",
    "decode_ms", "bytes_read", "lost_frames", "frame_count", "duration_s", "units", "units_failed",
    "ground_truth", "ground_truth_id",
)  # fmt: skip
_LISTED = (
    "video_id", "uri", "size_bytes", "duration_s", "decode_ms", "device_ms", "frame_count",
    "lost_frames",
)  # fmt: skip


@dataclass
class VideoFigures:
    """Sums over the rows of videos/, exact.

    Attributes:
        videos: rows.
        ok: those with labels.
        views: rows of clips/.
        by_views: labeled videos by their number of views.
        flops: multiply-accumulates of all views.
        device_ns: device time, nanoseconds.
        decode_ns: CPU time of fetching, decoding and resizing, nanoseconds.
        bytes_read: bytes read from storage.
        gets: reads of objects: one per unit of a video in object storage.
        video_ns: length of the labeled videos, nanoseconds.
        damaged: labeled videos that lost frames.
        lost_frames: frames that those lost.
        incomplete: labeled recordings of which some segments failed.
        judged: labeled videos whose ground truth is a class of the model.
        correct: those of them whose label is the ground truth.
        unknown_ground_truths: labeled videos whose ground truth is no class of the model.
        labels: labels and scores of the labeled videos.
        worst: the ten rows with most decode_ms, device_ms and lost_frames, by these names.
    """

    videos: int = 0
    ok: int = 0
    views: int = 0
    by_views: Counter[int] = field(default_factory=Counter)
    flops: int = 0
    device_ns: int = 0
    decode_ns: int = 0
    bytes_read: int = 0
    gets: int = 0
    video_ns: int = 0
    damaged: int = 0
    lost_frames: int = 0
    incomplete: int = 0
    judged: int = 0
    correct: int = 0
    unknown_ground_truths: int = 0
    labels: LabelFigures = field(default_factory=LabelFigures)
    worst: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"decode_ms": [], "device_ms": [], "lost_frames": []}
    )

    def add(self, videos: pa.RecordBatch) -> None:
        """Adds rows of videos/ with the columns that `read_videos` reads."""
        ok = videos.filter(pc.equal(videos["status"], "ok"))
        judged = ok.filter(pc.is_valid(ok["ground_truth_id"]))
        damaged = ok.filter(pc.fill_null(pc.greater(ok["lost_frames"], 0), False))
        self.videos += videos.num_rows
        self.ok += ok.num_rows
        self.views += total(videos["num_views"])
        for each in ok["num_views"].value_counts().to_pylist():
            self.by_views[each["values"]] += each["counts"]
        self.flops += exact_sum(filled(videos["flops"]))
        self.device_ns += exact_sum(nanoseconds(videos["device_ms"], 1e6))
        self.decode_ns += exact_sum(nanoseconds(videos["decode_ms"], 1e6))
        self.bytes_read += total(videos["bytes_read"])
        in_storage = videos.filter(pc.match_substring_regex(videos["uri"], IN_STORAGE))
        self.gets += total(in_storage["units"])
        self.video_ns += exact_sum(nanoseconds(ok["duration_s"], 1e9))
        self.damaged += damaged.num_rows
        self.lost_frames += total(damaged["lost_frames"])
        self.incomplete += total(pc.greater(ok["units_failed"], 0))
        self.judged += judged.num_rows
        self.correct += total(pc.equal(judged["ground_truth"], judged["label"]))
        self.unknown_ground_truths += len(unknown_ground_truths(ok))
        self.labels.add(ok["label"], ok["score"])
        for name, rows in {
            "decode_ms": videos,
            "device_ms": videos,
            "lost_frames": damaged,
        }.items():
            self.worst[name] = _worst(self.worst[name], rows, name)


def read_videos(run: RunDirectory) -> VideoFigures:
    """Reads videos/ once."""
    figures = VideoFigures()
    for batch in column_batches(run.videos, VIDEOS_SCHEMA, _NAMES):
        figures.add(batch)
    return figures


def _worst(known: list[dict[str, Any]], rows: pa.RecordBatch, name: str) -> list[dict[str, Any]]:
    """The rows with most of `name`, of those known and these."""
    rows = rows.filter(pc.fill_null(pc.greater(rows[name], 0), False))
    largest = pc.select_k_unstable(rows, SHOWN, sort_keys=[(name, "descending")])
    found = known + rows.take(largest).select(list(_LISTED)).to_pylist()
    return sorted(found, key=lambda row: -row[name])[:SHOWN]
