"""Builds the flat tables clips/ and videos/ from units/, and the totals of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RunError
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sampled import count_to_label
from pipeline.run.segments import SegmentedVideos
from pipeline.run.totals import Totals
from pipeline.run.video_embeddings import embedding_sums, means
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.storage.parquet_parts import PartWriter
from sta.heads import FEATURE_DTYPE
from workers.schema import EMBEDDING, OUTCOME, PREDICTION, SHADOW, VIEW, column

_OF_VIDEO = (
    "attempts",
    "decode_ms",
    "bytes_read",
    "etag",
    "frame_count",
    "lost_frames",
    "duration_s",
    "decoded_clips",
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
        column("uri", pa.string(), "path or address of the video"),
        column("part", pa.string(), "where the video lies within uri; null: uri is the video"),
        column("size_bytes", pa.int64(), "size of the file when it was listed; null if not known"),
        *[part for part in OUTCOME if part.name in ("status", "error_type", "error")],
        *PREDICTION,
        column("num_views", pa.int32(), "rows of this video in clips/ (views)"),
        column("flops", pa.int64(), "sum of flops over those rows"),
        column("device_ms", pa.float64(), "sum of device_ms over those rows"),
        *[part for part in OUTCOME if part.name in _OF_VIDEO],
        column("units", pa.int32(), "units of the video: 1, or the segments of a recording"),
        column("units_failed", pa.int32(), "failed units; if more than half, the video failed"),
        column("ground_truth", pa.string(), "label that the input gives; null without one"),
        column(
            "ground_truth_id",
            pa.int32(),
            "index of its class; null if it is not a class of the model",
        ),
        *SHADOW,
        column(
            EMBEDDING,
            pa.list_(pa.float16()),
            "mean of the embeddings of the video's views; null without --video-embeddings",
        ),
    ]
)

# Rows per file: readers want few files, of about 100 MB at most.
_CLIPS_PER_FILE = 500_000
_VIDEOS_PER_FILE = 500_000
_FILE_BYTES = 100_000_000


def build_tables(run: RunDirectory) -> Totals:
    """Writes clips/ and videos/ from units/, replacing old ones, and returns the totals.

    Raises:
        RunError: units/ does not hold every unit of the manifest exactly once.
    """
    _check_complete(run)
    metadata = run.schema_metadata()
    totals = Totals()
    record = run.load()
    classes = record.model.labels
    channels = record.model.channels if record.identity.embeddings == "videos" else 0
    recordings = SegmentedVideos(run, classes)
    clips_per_file = _CLIPS_PER_FILE
    if record.identity.embeddings is not None:
        per_file = _FILE_BYTES // (FEATURE_DTYPE().itemsize * record.model.channels)
        clips_per_file = min(clips_per_file, per_file)
    with (
        PartWriter(run.clips, CLIPS_SCHEMA.with_metadata(metadata), clips_per_file) as clips,
        PartWriter(run.videos, VIDEOS_SCHEMA.with_metadata(metadata), _VIDEOS_PER_FILE) as videos,
    ):
        for units in _unit_tables(run.units):
            totals.add_units(units)
            clips.write(_clips(units))
            whole = pc.is_null(units["start_s"])
            segments = units.filter(pc.invert(whole))
            parts = [_videos(units.filter(whole), classes, channels)]
            if segments.num_rows:
                sums = embedding_sums(segments, channels) if channels else None
                rows = recordings.add(segments, sums)
                parts.append(pa.Table.from_pylist(rows, schema=VIDEOS_SCHEMA))
            for part in parts:
                totals.add(part)
                videos.write(part)
    return totals


def _unit_tables(units: Location) -> Iterator[pa.Table]:
    for file in units.files(".parquet"):
        yield read_parquet(file)


def _check_complete(run: RunDirectory) -> None:
    expected = count_to_label(run)
    files = run.units.files(".parquet")
    ids = [np.array([], dtype="S1")]
    for file in files:
        part = read_parquet(file, ["unit_id"])
        ids.append(part["unit_id"].to_numpy(zero_copy_only=False).astype(np.bytes_))
    every = np.concatenate(ids)
    distinct = len(np.unique(every))
    if not len(every) == distinct == expected:
        raise RunError(
            f"units/ holds {len(every)} rows of {distinct} units and the manifest has {expected} "
            f"units; run jobs/verify.py to see which differ"
        )


def _clips(units: pa.Table) -> pa.Table:
    """One row per view, with the ids of its video and unit."""
    units = units.combine_chunks()
    views = units["views"].combine_chunks()
    parents = pc.list_parent_indices(views)
    flat = pc.list_flatten(views)
    columns = dict(zip([part.name for part in VIEW], flat.flatten(), strict=True))
    columns["video_id"] = units["video_id"].take(parents)
    columns["unit_id"] = units["unit_id"].take(parents)
    arrays = [columns[name].cast(CLIPS_SCHEMA.field(name).type) for name in CLIPS_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=CLIPS_SCHEMA)


def _videos(units: pa.Table, classes: Sequence[str], channels: int) -> pa.Table:
    """One row per video, from units that are whole videos; embeddings where channels is not 0."""
    num_views = pc.fill_null(pc.list_value_length(units["views"]), 0)
    mean = (
        means(embedding_sums(units, channels), np.asarray(num_views))
        if channels
        else pa.nulls(units.num_rows)
    )
    made = {
        EMBEDDING: pa.chunked_array([mean]),
        "ground_truth_id": pc.index_in(
            units["ground_truth"], value_set=pa.array(classes, pa.string())
        ),
        "num_views": num_views,
        "units": pa.repeat(1, units.num_rows),
        "units_failed": pc.equal(units["status"], "failed").cast(pa.int32()),
    }
    columns = {name: units[name] for name in VIDEOS_SCHEMA.names if name not in made} | made
    arrays = [columns[name].cast(VIDEOS_SCHEMA.field(name).type) for name in VIDEOS_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=VIDEOS_SCHEMA)
