"""The videos of a finished run with their segments, one at a time, in bounded memory."""

from __future__ import annotations

import tempfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.manifest import count_rows
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file

_VIDEO = (
    *("video_id", "uri", "part", "status", "error_type", "error", "label", "label_id", "score"),
    *("duration_s", "frame_count", "ground_truth"),
)
_CLIP = ("video_id", "clip", "start_s", "end_s", "label", "label_id", "score")
_ROWS_AT_ONCE = 10_000
# Views whose videos are put together at a time, some 600 bytes each.
_VIEWS_AT_ONCE = 500_000


@dataclass(frozen=True)
class Segment:
    """A part of a video in which all clips have the same label.

    Attributes:
        start_s: time of the first frame of its first clip, seconds.
        end_s: time of the last frame of its last clip.
        label: the label.
        label_id: its class.
        score: mean of the clips' scores; of several crops of a clip the highest counts.
        clips: number of clips.
    """

    start_s: float
    end_s: float
    label: str
    label_id: int
    score: float
    clips: int


@dataclass(frozen=True)
class LabeledVideo:
    """A row of videos/, and the segments of a video that was labeled clip by clip.

    Attributes:
        segments: in order of time; of a video with one label the whole video; none if it failed.
    """

    video_id: str
    uri: str
    part: str | None
    status: str
    error_type: str | None
    error: str | None
    label: str | None
    label_id: int | None
    score: float | None
    duration_s: float | None
    frame_count: int | None
    ground_truth: str | None
    segments: tuple[Segment, ...] = ()

    @property
    def fps(self) -> float | None:
        """Mean number of frames per second; None if it is not known."""
        if not self.frame_count or not self.duration_s:
            return None
        return self.frame_count / self.duration_s

    def frames_of(self, segment: Segment) -> tuple[int, int] | None:
        """First and last frame of a segment, counted from 1; None if they are not known."""
        if self.fps is None or self.frame_count is None:
            return None
        first, last = (round(time * self.fps) for time in (segment.start_s, segment.end_s))
        first = min(max(first + 1, 1), self.frame_count)
        return first, min(max(last, first), self.frame_count)


def labeled_videos(
    run: RunDirectory, videos: Collection[str] | None = None
) -> Iterator[LabeledVideo]:
    """The videos of a finished run, failed ones too; those with some ids, or all for None.

    Of a run with segments, the rows of a video are spread over clips/. They are first divided by a
    hash of the video's id into files in the temporary folder, each of which fits into memory.
    """
    if not run.load().identity.has_segments:
        for row in _rows(run.videos, _VIDEO, videos):
            yield LabeledVideo(**row, segments=_whole(row))
        return
    count = -(-count_rows(run.clips) // _VIEWS_AT_ONCE) or 1
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        parts = _divided(run.videos, _VIDEO, count, Path(folder, "videos"))
        clips = _divided(run.clips, _CLIP, count, Path(folder, "clips"))
        for of_videos, of_clips in zip(parts, clips, strict=True):
            segments = _segments(_rows(of_clips, _CLIP, videos))
            for row in _rows(of_videos, _VIDEO, videos):
                yield LabeledVideo(**row, segments=segments.get(row["video_id"], ()))


def _whole(row: dict[str, Any]) -> tuple[Segment, ...]:
    if row["status"] != "ok":
        return ()
    end_s = row["duration_s"] or 0.0
    return (Segment(0.0, end_s, row["label"], row["label_id"], row["score"], 1),)


def _rows(
    table: Location, columns: Sequence[str], videos: Collection[str] | None
) -> Iterator[dict[str, Any]]:
    wanted = None if videos is None else pa.array(sorted(videos), pa.string())
    for batch in batches(table, columns):
        if wanted is not None:
            batch = batch.filter(pc.is_in(batch["video_id"], value_set=wanted))
        yield from batch.to_pylist()


def batches(table: Location, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a folder of Parquet files, some thousands at a time."""
    for file in table.files(".parquet"):
        with parquet_file(file) as parquet:
            yield from parquet.iter_batches(_ROWS_AT_ONCE, columns=columns and list(columns))


def _divided(table: Location, columns: Sequence[str], count: int, folder: Path) -> list[Location]:
    """The rows in `count` folders, those of a video in one; the table itself if that is enough."""
    if count == 1:
        return [table]
    places = [folder / f"{number:05d}" for number in range(count)]
    writers: dict[int, pq.ParquetWriter] = {}
    try:
        for batch in batches(table, columns):
            ids = batch["video_id"].dictionary_encode()
            hashes = [zlib.crc32(each.encode()) % count for each in ids.dictionary.to_pylist()]
            numbers = np.array(hashes)[np.asarray(ids.indices)]
            for number in np.unique(numbers).tolist():
                if number not in writers:
                    places[number].mkdir(parents=True)
                    file = places[number] / "part-00000.parquet"
                    writers[number] = pq.ParquetWriter(file, batch.schema)
                writers[number].write_batch(batch.filter(pa.array(numbers == number)))
    finally:
        for writer in writers.values():
            writer.close()
    return [Location(str(place)) for place in places]


def _segments(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[Segment, ...]]:
    """Segments by video: neighboring clips with the same label are one."""
    clips: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        of_video = clips[row["video_id"]]
        known = of_video.get(row["clip"])
        if known is None or row["score"] > known["score"]:
            of_video[row["clip"]] = row
    return {video: tuple(_merged(of_video)) for video, of_video in clips.items()}


def _merged(clips: dict[int, dict[str, Any]]) -> Iterator[Segment]:
    ordered = [clips[number] for number in sorted(clips)]
    # A clip that is missing, since its part of the video failed, ends a segment.
    keys = (clip["clip"] - place for place, clip in enumerate(ordered))
    for _, pairs in groupby(
        zip(keys, ordered, strict=True), key=lambda pair: (pair[0], pair[1]["label_id"])
    ):
        same = [clip for _, clip in pairs]
        score = sum(clip["score"] for clip in same) / len(same)
        first, last = same[0], same[-1]
        yield Segment(
            first["start_s"], last["end_s"], first["label"], first["label_id"], score, len(same)
        )
