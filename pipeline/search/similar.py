"""Finds the videos that are most like one, by the cosine of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.embeddings.nearest import NearestSearch, Neighbor
from pipeline.embeddings.read import read_embeddings
from pipeline.embeddings.video_means import read_video_embeddings
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.search.query import Query, ViewPlace
from pipeline.search.video_rows import VideoRow, rows_of

MOST = 10_000


@dataclass(frozen=True)
class SimilarVideo:
    """A video that is like the query.

    Attributes:
        video: the video.
        cosine: of its embedding with the query's.
        view: its nearest view; None where means of videos were compared.
    """

    video: VideoRow
    cosine: float
    view: ViewPlace | None


@dataclass(frozen=True)
class SimilarVideos:
    """The videos most like a query.

    Attributes:
        query: what was searched for.
        found: the nearest first.
        searched: number of embeddings that were compared, of views or of videos: those of the
            query's own video are not.
        unusable: number of those that are all zero or not finite.
        index: folder of the index that was searched; "" where all embeddings were compared.
    """

    query: Query
    found: tuple[SimilarVideo, ...]
    searched: int
    unusable: int
    index: str = ""


def check_count(k: int) -> None:
    """Refuses numbers of videos that no search finds.

    Raises:
        UsageError: k is not 1 to MOST.
    """
    if not 1 <= k <= MOST:
        raise UsageError(f"-k must be 1 to {MOST:,}; got {k}")


def find_similar(run: RunDirectory, query: Query, k: int) -> SimilarVideos:
    """The k videos most like a query, by comparing all of a run.

    A view is compared with all views, and each video counts by its nearest one. A whole video, that
    is the mean of its views, is compared with the means of the others.

    Raises:
        UsageError: k is not 1 to MOST, or the run stores no embeddings.
    """
    check_count(k)
    search = NearestSearch(query.vector, k, left_out={query.video.video_id})
    if query.view is None:
        for means in read_video_embeddings(run):
            search.add(means.vectors, means.video_ids)
    else:
        for views in read_embeddings(run.root):
            places = (views.clips, views.crops, views.start_s, views.end_s)
            search.add(views.vectors, views.video_ids, *(each.tolist() for each in places))
    return SimilarVideos(
        query, found_videos(run, search.neighbors()), search.compared, search.unusable
    )


def found_videos(run: RunDirectory, near: Sequence[Neighbor]) -> tuple[SimilarVideo, ...]:
    """The videos of neighbors whose keys are ids, and whose values the places of views."""
    rows = rows_of(run, [str(each.key) for each in near])
    return tuple(
        SimilarVideo(
            rows[str(each.key)], each.cosine, ViewPlace(*each.values) if each.values else None
        )
        for each in near
        if str(each.key) in rows
    )
