"""The manifest in Parquet: one row per unit of work, written once, read by every attempt."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.inputs.duplicate_ids import Twins
from pipeline.inputs.video import Video
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file, read_parquet
from workers.decoding.types import MOST_UNITS
from workers.schema import column

MANIFEST_SCHEMA = pa.schema(
    [
        column("unit_id", pa.string(), "identity of the unit of work", nullable=False),
        column("video_id", pa.string(), "identity of the video", nullable=False),
        column("uri", pa.string(), "path or address of the video", nullable=False),
        column("part", pa.string(), "where the video lies within uri; null: uri is the video"),
        column("size_bytes", pa.int64(), "size when it was listed; null if not known"),
        column(
            "etag",
            pa.string(),
            "when listed: ETag of the object, or size and time of a local archive; else null",
        ),
        column("start_s", pa.float64(), "start of the unit, seconds; null: from the start"),
        column("end_s", pa.float64(), "end of the unit, seconds; null: to the end"),
        column("ground_truth", pa.string(), "label that the input gives, if any"),
    ]
)

_ROWS_PER_FILE = 100_000
# 80 bits: among 100 million units the chance that any two share an id is below 1 in 100 million.
_ID_BYTES = 10
# A last segment shorter than this share of a unit is rounding error and gets no unit.
_SLACK = 1e-6

_Span = tuple[float | None, float | None]


class Written(NamedTuple):
    """Number of videos in a manifest, and of the units that they are divided into."""

    videos: int
    units: int


def unit_id(video_id: str, start_s: float | None = None, end_s: float | None = None) -> str:
    """Identity of a unit: the same in every run over the same video.

    It is short, since resuming keeps every finished id in memory.
    """
    text = f"{video_id}\0{start_s}\0{end_s}".encode()
    return hashlib.blake2b(text, digest_size=_ID_BYTES).hexdigest()


def sampled(videos: Iterable[Video], count: int) -> Iterator[Video]:
    """The `count` videos with the smallest unit ids, or all videos if there are fewer.

    Ids are hashes, so the sample is random, does not depend on the order of the videos, and
    contains every smaller sample.
    """
    return iter(heapq.nsmallest(count, videos, key=lambda video: unit_id(video.video_id)))


def unit_spans(
    duration_s: float | None, unit_s: float | None, *, max_units: int | None = None
) -> list[_Span]:
    """(start, end) in seconds of the units of one video, in order; the last has no end.

    Args:
        duration_s: length of the video; None if not known, which gives one unit.
        unit_s: length of a unit; None for whole videos.
        max_units: a video with more becomes one unit, of which decoding reports this; None for
            MOST_UNITS.
    """
    if unit_s is None or duration_s is None or not math.isfinite(duration_s):
        return [(None, None)]
    count = max(1, math.ceil(duration_s / unit_s - _SLACK))
    if count > (max_units or MOST_UNITS):
        return [(None, None)]
    spans: list[_Span] = [(i * unit_s, (i + 1) * unit_s) for i in range(count - 1)]
    return [*spans, ((count - 1) * unit_s, None)]


def write_manifest(
    videos: Iterable[Video],
    folder: Location,
    *,
    unit_s: float | None = None,
    max_units: int | None = None,
) -> Written:
    """Writes the manifest of the videos, each whole or divided into units.

    Within a file the largest videos come first, so that the run does not end with a long one.
    Memory is that of one file's rows and of 8 bytes per video.

    Args:
        videos: the videos, each id once; those of known duration are divided.
        folder: folder of the files.
        unit_s: length of a unit in seconds; None for whole videos.
        max_units: as in `unit_spans`.

    Raises:
        UsageError: two videos have the same id, which the message names.
        ValueError: unit_s is not positive.
    """
    if unit_s is not None and not (math.isfinite(unit_s) and unit_s > 0):
        raise ValueError(f"a unit must be longer than 0 seconds; got {unit_s}")
    filesystem, path = folder.filesystem()
    filesystem.create_dir(path, recursive=True)
    seen = Twins()
    rows = _rows(videos, partial(unit_spans, unit_s=unit_s, max_units=max_units), seen)
    number = units = 0
    while (part := list(islice(rows, _ROWS_PER_FILE))) or not number:  # without a video, one file
        table = _largest_first(_table(part)) if part else MANIFEST_SCHEMA.empty_table()
        name = f"{path}/part-{number:05d}.parquet"
        pq.write_table(table, name, filesystem=filesystem, compression="zstd")
        units += len(part)
        number += 1
    twin = seen.first(_first_units(folder))
    if twin is not None:
        raise UsageError(
            f"two videos of the input have video_id {twin.video_id!r}; every video needs its own"
        )
    return Written(videos=len(seen), units=units)


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(zip(*rows, strict=True), MANIFEST_SCHEMA, strict=True)
    arrays = [pa.array(values, part.type) for values, part in columns]
    return pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA)


def _largest_first(table: pa.Table) -> pa.Table:
    """Sorted by size, unknown sizes last; rows of equal size (segments of a video) keep order."""
    order = pc.sort_indices(table, sort_keys=[("size_bytes", "descending")])
    return table.take(order)


def _rows(
    videos: Iterable[Video], spans: Callable[[float | None], list[_Span]], seen: Twins
) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of the schema's columns; `seen` receives each video's id."""
    for video in videos:
        seen.add(video.video_id)
        for start_s, end_s in spans(video.duration_s):
            yield (
                unit_id(video.video_id, start_s, end_s),
                video.video_id,
                video.uri,
                video.part,
                video.size_bytes,
                video.etag,
                start_s,
                end_s,
                video.ground_truth,
            )


def _first_units(folder: Location) -> Iterator[str]:
    """The video id of each video's first unit."""
    for file in folder.files(".parquet"):
        part = read_parquet(file, ["video_id", "start_s"])
        first = pc.equal(pc.fill_null(part["start_s"], 0.0), 0.0)
        yield from part["video_id"].filter(first).to_pylist()


def size_bytes(folder: Location) -> int | None:
    """Bytes of all videos of a manifest of whole videos; None if some size is not known."""
    total = 0
    for file in folder.files(".parquet"):
        sizes = read_parquet(file, ["size_bytes"])["size_bytes"]
        if sizes.null_count:
            return None
        total += pc.sum(sizes, min_count=0).as_py()
    return total


def count_rows(folder: Location) -> int:
    """Number of rows of all Parquet files in a folder, from their footers."""
    total = 0
    for file in folder.files(".parquet"):
        with parquet_file(file) as opened:
            total += opened.metadata.num_rows
    return total
