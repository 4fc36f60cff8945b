"""Runs a search for similar videos or duplicates and writes its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.embeddings.read import embedding_record
from pipeline.errors import UsageError
from pipeline.formatting import file_stem
from pipeline.run.run_directory import RunDirectory
from pipeline.search.duplicate_page import duplicate_page, duplicate_screen
from pipeline.search.duplicates import DuplicateGroups, check_threshold, find_duplicates
from pipeline.search.files import SearchFiles
from pipeline.search.lance_index import find_by_index
from pipeline.search.query import read_query
from pipeline.search.similar import SimilarVideo, check_count, find_similar
from pipeline.search.similar_page import similar_page, similar_screen
from pipeline.search.thumbnails import thumbnails
from pipeline.search.video_rows import VideoRow
from pipeline.storage.location import Location
from workers.schema import column

FOLDER = "find"

_VIDEO = (
    column("video_id", pa.string(), "identity of the video"),
    column("uri", pa.string(), "path or address of the video"),
    column("part", pa.string(), "where the video lies within uri; null: uri is the video"),
)
_ABOUT = (
    column("label", pa.string(), "label of the video in the run"),
    column("score", pa.float32(), "probability of that class"),
    column("duration_s", pa.float64(), "duration of the video, seconds"),
)
SIMILAR_SCHEMA = pa.schema(
    [
        column("rank", pa.int32(), "1 for the nearest"),
        *_VIDEO,
        column("cosine", pa.float64(), "cosine with the embedding that was searched for"),
        column("clip", pa.int32(), "clip of the nearest view; null: whole videos were compared"),
        column("crop", pa.int32(), "crop of that view"),
        column("start_s", pa.float64(), "time of its first frame, seconds"),
        column("end_s", pa.float64(), "time of its last frame, seconds"),
        *_ABOUT,
    ]
)
DUPLICATES_SCHEMA = pa.schema(
    [
        column("group", pa.int32(), "number of the group, from 1, the largest first"),
        *_VIDEO,
        column("cosine", pa.float64(), "largest cosine with another video of the group"),
        *_ABOUT,
    ]
)


@dataclass(frozen=True)
class Search:
    """What to find, and where results go.

    Attributes:
        output: directory or s3://bucket/prefix of the run.
        like: VIDEO or VIDEO@SECONDS; None for duplicates.
        duplicates: the cosine of duplicates; None for similar videos.
        k: number of similar videos.
        exact: whether all pairs are compared for duplicates, however long that takes.
        index: folder of Lance datasets for similar videos; None to compare all.
        thumbnails: number of videos whose frames are decoded for the page.
        folder: where the page and the table go; None for find/ in the run.
        json: a file for the results as JSON; None for none.
    """

    output: str
    like: str | None = None
    duplicates: float | None = None
    k: int = 20
    exact: bool = False
    index: str | None = None
    thumbnails: int = 100
    folder: str | None = None
    json: str | None = None

    def __post_init__(self) -> None:
        if (self.like is None) == (self.duplicates is None):
            raise UsageError(
                "name what to find: --like VIDEO or VIDEO@SECONDS, or --duplicates COSINE"
            )
        if self.like is None and self.index is not None:
            raise UsageError("--index is for --like; duplicates are found without an index")
        if self.exact and self.duplicates is None:
            raise UsageError("--exact is for --duplicates; --like compares all without --index")
        if self.duplicates is not None:
            check_threshold(self.duplicates)
        check_count(self.k)
        if self.thumbnails < 0:
            raise UsageError(f"--thumbnails must be 0 or more; got {self.thumbnails}")

    def files(self, run: RunDirectory, name: str) -> SearchFiles:
        """Where results of this name are written."""
        folder = run.root.child(FOLDER) if self.folder is None else Location.of(self.folder)
        return SearchFiles(folder, name, None if self.json is None else Location.of(self.json))


def find(search: Search) -> str:
    """Finds, writes the files, and returns what the screen says.

    Raises:
        UsageError: the run stores no embeddings, there is no such video, or a file cannot be
            written.
        OSError, pyarrow.ArrowException: a table cannot be read.
    """
    run = RunDirectory(Location.of(search.output))
    embedding_record(run)
    if search.duplicates is not None:
        return _duplicates(run, search, search.duplicates)
    return _similar(run, search, search.like or "")


def _similar(run: RunDirectory, search: Search, like: str) -> str:
    query = read_query(run, like)
    at = "" if query.view is None else f"-at-{query.view.start_s:.2f}s"
    files = search.files(run, f"like-{file_stem(query.video.video_id)}{at}")
    files.check_writable()
    if search.index is None:
        found = find_similar(run, query, search.k)
    else:
        found = find_by_index(run, query, search.k, Location.of(search.index))
    files.write(
        [_similar_row(rank, each) for rank, each in enumerate(found.found, start=1)],
        SIMILAR_SCHEMA,
        {
            "run": run.root.uri,
            "like": query.video.video_id,
            "time_s": query.time_s,
            "view": None if query.view is None else vars(query.view),
            "searched": found.searched,
            "index": found.index or None,
        },
    )
    views = {query.video.video_id: query.view}
    views |= {each.video.video_id: each.view for each in found.found}
    frames = thumbnails(run, views, most=search.thumbnails)
    files.write_page(similar_page(found, frames, run.root.uri))
    return similar_screen(found, files)


def _duplicates(run: RunDirectory, search: Search, threshold: float) -> str:
    files = search.files(run, "duplicates")
    files.check_writable()
    found = find_duplicates(run, threshold, exact=search.exact)
    files.write(
        [
            {"group": number, **_video(each.video), "cosine": each.cosine, **_about(each.video)}
            for number, group in enumerate(found.groups, start=1)
            for each in group
        ],
        DUPLICATES_SCHEMA,
        _duplicates_about(run, found),
    )
    first = [each.video.video_id for group in found.groups for each in group]
    frames = thumbnails(run, dict.fromkeys(first), most=search.thumbnails)
    files.write_page(duplicate_page(found, frames, run.root.uri, files.table.uri))
    return duplicate_screen(found, files)


def _duplicates_about(run: RunDirectory, found: DuplicateGroups) -> dict[str, Any]:
    recall, background = found.recall, found.background
    return {
        "run": run.root.uri,
        "threshold": found.threshold,
        "searched": found.searched,
        "groups": len(found.groups),
        "pairs": found.pairs,
        "complete": found.complete,
        "recall": None if recall is None or not recall.count else recall.value,
        "random_pairs_above": None if background is None else background.above.value,
    }


def _similar_row(rank: int, each: SimilarVideo) -> dict[str, Any]:
    view = {} if each.view is None else vars(each.view)
    return {"rank": rank, **_video(each.video), "cosine": each.cosine, **view, **_about(each.video)}


def _video(video: VideoRow) -> dict[str, Any]:
    return {field.name: getattr(video, field.name) for field in _VIDEO}


def _about(video: VideoRow) -> dict[str, Any]:
    return {field.name: getattr(video, field.name) for field in _ABOUT}
