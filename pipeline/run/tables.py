"""From units/ to the flat tables clips/ and videos/, and the totals of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import RunError
from pipeline.inputs.manifest import count_rows
from pipeline.run.run_directory import RunDirectory
from pipeline.run.segments import Recordings
from pipeline.storage.location import Location
from pipeline.storage.parquet_parts import PartWriter
from workers.schema import OUTCOME, PREDICTION, SHADOW, VIEW, column

_OF_VIDEO = (
    "attempts",
    "decode_ms",
    "bytes_read",
    "etag",
    "frame_count",
    "lost_frames",
    "duration_s",
)

CLIPS_SCHEMA = pa.schema(
    [
        column("video_id", pa.string(), "identity of the video"),
        column("unit_id", pa.string(), "identity of the unit"),
        *VIEW,
    ]
)

VIDEOS_SCHEMA = pa.schema(
    [
        column("video_id", pa.string(), "identity of the video"),
        column("uri", pa.string(), "where the video lies"),
        column("size_bytes", pa.int64(), "size of the file when it was listed; null if not known"),
        *[part for part in OUTCOME if part.name in ("status", "error_type", "error")],
        *PREDICTION,
        column("num_views", pa.int32(), "rows of this video in clips/ (views)"),
        column("flops", pa.int64(), "sum of flops over those rows"),
        column("device_ms", pa.float64(), "sum of device_ms over those rows"),
        *[part for part in OUTCOME if part.name in _OF_VIDEO],
        column("units", pa.int32(), "units of the video: 1, or the segments of a recording"),
        column("units_failed", pa.int32(), "those of them that failed; more than half: it failed"),
        column("ground_truth", pa.string(), "label given in the input, null if none was"),
        column(
            "ground_truth_id", pa.int32(), "index of its class; null where the model has no such"
        ),
        *SHADOW,
    ]
)

# Rows after which a new file begins: readers want few files, of some 100 MB at most.
_CLIPS_PER_FILE = 500_000
_VIDEOS_PER_FILE = 500_000

_EXAMPLES = 3


@dataclass
class Totals:
    """What a finished run adds up to.

    Attributes:
        videos: rows of videos/.
        ok: those with labels.
        units: units of work.
        unit_failures: number of failed units by reason, those of labeled recordings included.
        failures: number of failed videos by reason.
        examples: (video_id, error) of a few failures by reason.
        clips: rows of clips/.
        flops: multiply-accumulates of all views.
        device_ms: device time of all views, milliseconds.
        decode_ms: CPU time of fetching and decoding, milliseconds.
        bytes_read: bytes read from storage.
        video_seconds: length of the labeled videos.
        damaged: labeled videos that lost frames to damage.
        judged: labeled videos whose true label is a class of the model.
        right: those labeled truly.
        unknown_ground_truths: labeled videos whose true label is none of the model's classes.
        unknown_examples: a few of those labels.
        unpruned_units: units that were labeled without pruning too.
        unpruned_agreeing: those of them with the same label both times.
        unpruned_views: evaluated views of those units; the unpruned model sees all.
        unpruned_views_agreeing: those of them with the same label both times.
        unpruned_flops: multiply-accumulates of the labeling without pruning, beside flops.
        unpruned_device_ms: its device time, milliseconds, beside device_ms.
    """

    videos: int = 0
    ok: int = 0
    units: int = 0
    unit_failures: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    clips: int = 0
    flops: int = 0
    device_ms: float = 0.0
    decode_ms: float = 0.0
    bytes_read: int = 0
    video_seconds: float = 0.0
    damaged: int = 0
    judged: int = 0
    right: int = 0
    unknown_ground_truths: int = 0
    unknown_examples: list[str] = field(default_factory=list)
    unpruned_units: int = 0
    unpruned_agreeing: int = 0
    unpruned_views: int = 0
    unpruned_views_agreeing: int = 0
    unpruned_flops: int = 0
    unpruned_device_ms: float = 0.0

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
        self.clips += _sum(videos["num_views"])
        self.flops += _sum(videos["flops"])
        self.device_ms += _sum(videos["device_ms"])
        self.decode_ms += _sum(videos["decode_ms"])
        self.bytes_read += _sum(videos["bytes_read"])
        self.unpruned_flops += _sum(videos["unpruned_flops"])
        self.unpruned_device_ms += _sum(videos["unpruned_device_ms"])
        self.video_seconds += _sum(ok["duration_s"])
        self.damaged += _sum(pc.greater(ok["lost_frames"], 0))
        judged = ok.filter(pc.is_valid(ok["ground_truth_id"]))
        self.judged += judged.num_rows
        self.right += _sum(pc.equal(judged["ground_truth"], judged["label"]))
        unknown = unknown_ground_truths(ok)
        self.unknown_ground_truths += len(unknown)
        known = self.unknown_examples
        known += [name for name in unknown.unique().to_pylist() if name not in known]
        del known[_EXAMPLES:]


def _sum(values: pa.ChunkedArray) -> Any:
    return pc.sum(values, min_count=0).as_py()


def _agreeing(one: pa.ChunkedArray, other: pa.ChunkedArray) -> int:
    return int(_sum(pc.equal(one, other)))


def build_tables(run: RunDirectory) -> Totals:
    """Writes clips/ and videos/ anew from units/ and adds them up.

    Raises:
        RunError: units/ does not hold every unit of the manifest exactly once.
    """
    _check_complete(run)
    metadata = run.schema_metadata()
    totals = Totals()
    classes = run.load()["model"].get("labels", ())
    recordings = Recordings(run, classes)
    with (
        PartWriter(run.clips, CLIPS_SCHEMA.with_metadata(metadata), _CLIPS_PER_FILE) as clips,
        PartWriter(run.videos, VIDEOS_SCHEMA.with_metadata(metadata), _VIDEOS_PER_FILE) as videos,
    ):
        for units in _unit_tables(run.units):
            totals.add_units(units)
            clips.write(_clips(units))
            whole = pc.is_null(units["start_s"])
            segments = units.filter(pc.invert(whole))
            parts = [_videos(units.filter(whole), classes)]
            if segments.num_rows:
                rows = recordings.add(segments)
                parts.append(pa.Table.from_pylist(rows, schema=VIDEOS_SCHEMA))
            for part in parts:
                totals.add(part)
                videos.write(part)
    return totals


def _unit_tables(units: Location) -> Iterator[pa.Table]:
    for file in units.files(".parquet"):
        filesystem, path = file.filesystem()
        yield pq.read_table(path, filesystem=filesystem, partitioning=None)


def _check_complete(run: RunDirectory) -> None:
    expected = count_rows(run.manifest)
    files = run.units.files(".parquet")
    ids = [np.array([], dtype="S1")]
    for file in files:
        filesystem, path = file.filesystem()
        part = pq.read_table(path, columns=["unit_id"], filesystem=filesystem, partitioning=None)
        ids.append(part["unit_id"].to_numpy(zero_copy_only=False).astype(np.bytes_))
    every = np.concatenate(ids)
    distinct = len(np.unique(every))
    if not len(every) == distinct == expected:
        raise RunError(
            f"units/ holds {len(every)} rows of {distinct} units and the manifest has {expected}; "
            f"jobs/verify.py names what differs"
        )


def _clips(units: pa.Table) -> pa.Table:
    """One row per view, every view under its video and unit."""
    units = units.combine_chunks()
    views = units["views"].combine_chunks()
    parents = pc.list_parent_indices(views)
    flat = pc.list_flatten(views)
    columns = dict(zip([part.name for part in VIEW], flat.flatten(), strict=True))
    columns["video_id"] = units["video_id"].take(parents)
    columns["unit_id"] = units["unit_id"].take(parents)
    arrays = [columns[name].cast(CLIPS_SCHEMA.field(name).type) for name in CLIPS_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=CLIPS_SCHEMA)


def unknown_ground_truths(videos: pa.Table | pa.RecordBatch) -> Any:
    """The true labels of rows of videos/ that are none of the model's classes."""
    strange = pc.and_(pc.is_valid(videos["ground_truth"]), pc.is_null(videos["ground_truth_id"]))
    return videos["ground_truth"].filter(strange)


def _videos(units: pa.Table, classes: Sequence[str]) -> pa.Table:
    """One row per video, from units that are whole videos."""
    made = {
        "ground_truth_id": pc.index_in(
            units["ground_truth"], value_set=pa.array(classes, pa.string())
        ),
        "num_views": pc.fill_null(pc.list_value_length(units["views"]), 0),
        "units": pa.repeat(1, units.num_rows),
        "units_failed": pc.equal(units["status"], "failed").cast(pa.int32()),
    }
    columns = {name: units[name] for name in VIDEOS_SCHEMA.names if name not in made} | made
    arrays = [columns[name].cast(VIDEOS_SCHEMA.field(name).type) for name in VIDEOS_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=VIDEOS_SCHEMA)
