"""A run as tables: `videos`, and `segments` where videos were labeled clip by clip.

Every row has the date (UTC) on which the run finished, by which tables are partitioned, and the
run's id, so that one table can hold many nights.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from pipeline.export.labeled_videos import batches, labeled_videos
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import VIDEOS_SCHEMA
from workers.schema import EMBEDDING, column

DATE, RUN_ID = "date", "run_id"

_RUN = (
    column(DATE, pa.date32(), "day on which the run finished, UTC"),
    column(RUN_ID, pa.string(), "id of the run, as run.json has it"),
)
# Neither Iceberg nor Delta nor Hugging Face's datasets knows lists of float16.
_EMBEDDING = column(
    EMBEDDING,
    pa.list_(pa.float32()),
    str(VIDEOS_SCHEMA.field(EMBEDDING).metadata[b"about"], "utf-8"),
)
_OF_VIDEOS = [_EMBEDDING if part.name == EMBEDDING else part for part in VIDEOS_SCHEMA]
VIDEOS = pa.schema([*_OF_VIDEOS, *_RUN])
SEGMENTS = pa.schema(
    [
        *(VIDEOS_SCHEMA.field(name) for name in ("video_id", "uri", "part")),
        column("start_s", pa.float64(), "time of the segment's first frame, seconds"),
        column("end_s", pa.float64(), "time of the segment's last frame, seconds"),
        column("label", pa.string(), "label of all its clips"),
        column("label_id", pa.int32(), "index of that class"),
        column("score", pa.float64(), "mean of the clips' scores"),
        column("clips", pa.int32(), "number of its clips"),
        *_RUN,
    ]
)
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class ExportTable:
    """A table of an export.

    Attributes:
        name: its name.
        schema: its columns.
        run_id: id of the run, as each row has it.
        batches: reads its rows anew.
    """

    name: str
    schema: pa.Schema
    run_id: str
    batches: Callable[[], Iterator[pa.RecordBatch]]

    def reader(self) -> pa.RecordBatchReader:
        """Reads its rows anew."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())


def tables_of(run: RunDirectory) -> list[ExportTable]:
    """The tables of a finished run."""
    record = run.load()
    finished = record.finished or datetime.datetime.now(datetime.UTC)
    run_id = re.sub(r"\W", "", record.run_id or "")  # libraries take it as a part of a condition
    of_run = {DATE: finished.date(), RUN_ID: run_id}

    def videos() -> Iterator[pa.RecordBatch]:
        for batch in batches(run.videos):
            columns = [batch[part.name].cast(part.type) for part in _OF_VIDEOS]
            columns += [pa.repeat(pa.scalar(of_run[f.name], f.type), len(batch)) for f in _RUN]
            yield pa.RecordBatch.from_arrays(columns, schema=VIDEOS)

    def segments() -> Iterator[pa.RecordBatch]:
        rows = (
            {"video_id": video.video_id, "uri": video.uri, "part": video.part}
            | vars(segment)
            | of_run
            for video in labeled_videos(run)
            for segment in video.segments
        )
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            yield pa.RecordBatch.from_pylist(part, schema=SEGMENTS)

    found = [ExportTable("videos", VIDEOS, run_id, videos)]
    if record.identity.has_segments:
        found.append(ExportTable("segments", SEGMENTS, run_id, segments))
    return found
