"""The manifest: one row per unit of work, in Parquet, written once and read by every resume."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.listing import Video
from pipeline.storage import Location
from workers.schema import column

MANIFEST_SCHEMA = pa.schema(
    [
        column("unit_id", pa.string(), "identity of the unit of work", nullable=False),
        column("video_id", pa.string(), "identity of the video", nullable=False),
        column("uri", pa.string(), "where the video lies", nullable=False),
        column("size_bytes", pa.int64(), "size when it was listed; null if not known"),
        column("start_s", pa.float64(), "start of the unit, seconds; null: from the start"),
        column("end_s", pa.float64(), "end of the unit, seconds; null: to the end"),
        column("label", pa.string(), "true label, where the input gives one"),
    ]
)

_ROWS_PER_FILE = 250_000
# 80 bits: among 100 million units the chance that any two share an id is below 1 in 100 million.
_ID_BYTES = 10


def unit_id(video_id: str, start_s: float | None = None, end_s: float | None = None) -> str:
    """Identity of a unit: short, of fixed length, the same in every run over the same video.

    Resuming holds every finished id in memory, so its length is the size of that table.
    """
    text = f"{video_id}\0{start_s}\0{end_s}".encode()
    return hashlib.blake2b(text, digest_size=_ID_BYTES).hexdigest()


def write_manifest(videos: Iterable[Video], folder: Location) -> int:
    """Writes the manifest of whole videos and returns its number of rows.

    Raises:
        UsageError: two videos share an id, which is named.
    """
    filesystem, path = folder.filesystem()
    filesystem.create_dir(path, recursive=True)
    seen: set[str] = set()
    rows = _rows(videos, seen)
    number = 0
    while part := list(islice(rows, _ROWS_PER_FILE)):
        table = pa.Table.from_pylist(part, schema=MANIFEST_SCHEMA)
        pq.write_table(table, f"{path}/part-{number:05d}.parquet", filesystem=filesystem)
        number += 1
    return len(seen)


def _rows(videos: Iterable[Video], seen: set[str]) -> Iterator[dict[str, object]]:
    for video in videos:
        identity = unit_id(video.video_id)
        if identity in seen:
            raise UsageError(
                f"video_id {video.video_id!r} stands twice in the input; every video needs its own"
            )
        seen.add(identity)
        yield {
            "unit_id": identity,
            "video_id": video.video_id,
            "uri": video.uri,
            "size_bytes": video.size_bytes,
            "label": video.label,
        }


def count_rows(folder: Location) -> int:
    """Rows of all Parquet files in a folder, from their footers."""
    total = 0
    for file in folder.files(".parquet"):
        filesystem, path = file.filesystem()
        total += pq.read_metadata(path, filesystem=filesystem).num_rows
    return total
