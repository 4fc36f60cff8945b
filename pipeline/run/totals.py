"""Totals of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.run.sums import total

_EXAMPLES = 3


@dataclass
class Totals:
    """Totals over the tables of a finished run.

    Attributes:
        videos: rows of videos/.
        ok: videos with a label.
        units: units of work.
        unit_failures: number of failed units by reason, segments of labeled videos included.
        failures: number of failed videos by reason.
        examples: (video_id, error) of a few failures by reason.
        clips: rows of clips/.
        decoded_clips: clips that were decoded.
        flops: multiply-accumulates of all views.
        device_ms: device time of all views, milliseconds.
        decode_ms: CPU time of fetching and decoding, milliseconds.
        bytes_read: bytes read from storage.
        video_seconds: length of the labeled videos.
        damaged: labeled videos that lost frames to damage.
        judged: labeled videos whose ground truth is a class of the model.
        correct: judged videos whose label is the ground truth.
        unknown_ground_truths: labeled videos whose ground truth is not a class of the model.
        unknown_examples: a few of these ground truths.
        unpruned_units: units of the shadow sample, also labeled without pruning.
        unpruned_agreeing: units of the shadow sample with the same label both times.
        unpruned_views: evaluated views of the shadow sample; the unpruned model sees all views.
        unpruned_views_agreeing: evaluated views with the same label both times.
        unpruned_flops: multiply-accumulates of labeling without pruning, not part of flops.
        unpruned_device_ms: device time of labeling without pruning, milliseconds, not part of
            device_ms.
        stages: statistics of the stages in the attempt that labeled most, as `Stages.as_json`, with
            its bottleneck; None if nothing was measured.
    """

    videos: int = 0
    ok: int = 0
    units: int = 0
    unit_failures: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    clips: int = 0
    decoded_clips: int = 0
    flops: int = 0
    device_ms: float = 0.0
    decode_ms: float = 0.0
    bytes_read: int = 0
    video_seconds: float = 0.0
    damaged: int = 0
    judged: int = 0
    correct: int = 0
    unknown_ground_truths: int = 0
    unknown_examples: list[str] = field(default_factory=list)
    unpruned_units: int = 0
    unpruned_agreeing: int = 0
    unpruned_views: int = 0
    unpruned_views_agreeing: int = 0
    unpruned_flops: int = 0
    unpruned_device_ms: float = 0.0
    stages: Mapping[str, Any] | None = None

    @property
    def failed(self) -> int:
        """Videos without a label."""
        return self.videos - self.ok

    def add_units(self, units: pa.Table) -> None:
        """Adds a part of units/."""
        self.units += units.num_rows
        for each in units["error_type"].drop_null().value_counts().to_pylist():
            reason = each["values"]
            self.unit_failures[reason] = self.unit_failures.get(reason, 0) + each["counts"]
        shadow = units.filter(pc.is_valid(units["unpruned_label_id"]))
        self.unpruned_units += shadow.num_rows
        self.unpruned_agreeing += _agreeing(shadow["label_id"], shadow["unpruned_label_id"])
        views = pc.list_flatten(shadow["views"])
        self.unpruned_views += len(views)
        self.unpruned_views_agreeing += _agreeing(
            pc.struct_field(views, "label_id"), pc.struct_field(views, "unpruned_label_id")
        )

    def add(self, videos: pa.Table) -> None:
        """Adds a part of videos/."""
        ok = videos.filter(pc.equal(videos["status"], "ok"))
        self.videos += videos.num_rows
        self.ok += ok.num_rows
        for row in videos.filter(pc.equal(videos["status"], "failed")).to_pylist():
            reason = row["error_type"]
            self.failures[reason] = self.failures.get(reason, 0) + 1
            examples = self.examples.setdefault(reason, [])
            if len(examples) < _EXAMPLES:
                examples.append((row["video_id"], row["error"]))
        self.clips += total(videos["num_views"])
        self.decoded_clips += total(videos["decoded_clips"])
        self.flops += total(videos["flops"])
        self.device_ms += total(videos["device_ms"])
        self.decode_ms += total(videos["decode_ms"])
        self.bytes_read += total(videos["bytes_read"])
        self.unpruned_flops += total(videos["unpruned_flops"])
        self.unpruned_device_ms += total(videos["unpruned_device_ms"])
        self.video_seconds += total(ok["duration_s"])
        self.damaged += total(pc.greater(ok["lost_frames"], 0))
        judged = ok.filter(pc.is_valid(ok["ground_truth_id"]))
        self.judged += judged.num_rows
        self.correct += total(pc.equal(judged["ground_truth"], judged["label"]))
        unknown = unknown_ground_truths(ok)
        self.unknown_ground_truths += len(unknown)
        known = self.unknown_examples
        known += [name for name in unknown.unique().to_pylist() if name not in known]
        del known[_EXAMPLES:]


def _agreeing(one: pa.ChunkedArray, other: pa.ChunkedArray) -> int:
    return int(total(pc.equal(one, other)))


def unknown_ground_truths(videos: pa.Table | pa.RecordBatch) -> Any:
    """The ground truths in rows of videos/ that are not classes of the model."""
    strange = pc.and_(pc.is_valid(videos["ground_truth"]), pc.is_null(videos["ground_truth_id"]))
    return videos["ground_truth"].filter(strange)
