"""Finds the video, and the time in it, that a search begins with."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.embeddings.cosine import unit_rows
from pipeline.errors import UsageError
from pipeline.reports.tokens.lookup import middle_crop
from pipeline.run.kept_token_maps import why_absent
from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory
from pipeline.search.video_rows import VideoRow, video_rows
from pipeline.storage.parquet_files import parquet_file
from sta.text import displayed
from workers.embeddings import Vectors, vectors_of
from workers.schema import EMBEDDING

_VIEW = ("clip", "crop", "start_s", "end_s", EMBEDDING)
# Times are shown in tenths of a second.
_NEAR_S = 0.05
# Ids that an unknown name is compared with; comparing a million takes minutes.
_COMPARED = 20_000
_NAMED = 3


@dataclass(frozen=True)
class ViewPlace:
    """A view of a video.

    Attributes:
        clip: number of its clip.
        crop: number of its crop.
        start_s: time of its first frame, seconds.
        end_s: time of its last frame.
    """

    clip: int
    crop: int
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched for.

    Attributes:
        video: the video.
        view: the view of the time that was asked for; None for the whole video.
        vector: float16 (1, d), the embedding of the view, or the mean of all views.
        time_s: the time that was asked for, seconds; None for the whole video.
    """

    video: VideoRow
    view: ViewPlace | None
    vector: Vectors
    time_s: float | None = None

    @property
    def is_beside(self) -> bool:
        """Whether no view was made at the time that was asked for, so that one beside it counts."""
        if self.view is None or self.time_s is None:
            return False
        first, last = self.view.start_s - _NEAR_S, self.view.end_s + _NEAR_S
        return not first <= self.time_s <= last


def read_query(run: RunDirectory, text: str) -> Query:
    """The query that VIDEO or VIDEO@SECONDS means.

    VIDEO is an id, a uri, or a path of a video of the run. A name that ends in @ and a number is
    first looked for as it stands.

    Args:
        run: a finished run that stores embeddings.
        text: VIDEO or VIDEO@SECONDS.

    Raises:
        UsageError: there is no such video, the name means several, the video failed, or the time
            lies outside of it.
    """
    time_s = None
    found = _named(run, text)
    if not found and (split := _split(text)) is not None:
        name, time_s = split
        found = _named(run, name)
    else:
        name = text
    if not found:
        before, at, seconds = text.rpartition("@")
        if at and _split(text) is None and _named(run, before):
            raise UsageError(
                f"{displayed(seconds)!r} in {displayed(text)!r} is no number of seconds"
            )
        raise UsageError(f"{run.root.uri} has no video {displayed(name)!r}{_nearest(run, name)}")
    if len(found) > 1:
        ids = ", ".join(displayed(each.video_id) for each in found[:_NAMED])
        raise UsageError(
            f"{len(found)} videos of {run.root.uri} lie in {displayed(name)}; name one by its id, "
            f"such as {ids}"
        )
    video = found[0]
    if video.status != "ok":
        raise UsageError(why_absent(run, video.video_id))
    view, vector = (None, _mean(run, video)) if time_s is None else _view(run, video, time_s)
    if not unit_rows(vector)[1].all():
        raise UsageError(
            f"the embedding of {displayed(video.video_id)} is all zero or not finite, so nothing "
            "is like it; label the run anew with --precision float32"
        )
    return Query(video, view, vector, time_s)


def _named(run: RunDirectory, name: str) -> list[VideoRow]:
    """The video with this id, or else the videos with this uri or path."""
    if found := video_rows(run, "video_id", {name}):
        return found
    places = {name} if "://" in name else {name, os.path.abspath(name), os.path.realpath(name)}
    return video_rows(run, "uri", places)


def _split(text: str) -> tuple[str, float] | None:
    """VIDEO and SECONDS; None if the text does not end in @ and a number."""
    name, at, seconds = text.rpartition("@")
    try:
        time_s = float(seconds)
    except ValueError:
        return None
    return (name, time_s) if at and name and math.isfinite(time_s) else None


def _nearest(run: RunDirectory, name: str) -> str:
    compared = list(islice(_ids(run), _COMPARED))
    parts = [each for each in compared if name and name.lower() in each.lower()]
    nearest = parts[:_NAMED] or difflib.get_close_matches(name, compared, _NAMED)
    shown = ", ".join(map(displayed, nearest or compared[:_NAMED]))
    return f"; did you mean {shown}?" if nearest else f"; it has {shown}, ..."


def _ids(run: RunDirectory) -> Iterator[str]:
    for file in run.videos.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(columns=["video_id"]):
                yield from batch["video_id"].to_pylist()


def _mean(run: RunDirectory, video: VideoRow) -> Vectors:
    """The stored mean, or that of the stored views, as read_video_embeddings gives it."""
    if run.load().identity.embeddings == "videos":
        stored = _rows(run.videos, video.video_id, (EMBEDDING,))
        return vectors_of(stored[EMBEDDING])
    views = vectors_of(_rows(run.clips, video.video_id, (EMBEDDING,))[EMBEDDING])
    return np.asarray(
        (views.astype(np.float64).sum(axis=0) / len(views)).astype(np.float16)[None], np.float16
    )


def _view(run: RunDirectory, video: VideoRow, time_s: float) -> tuple[ViewPlace, Vectors]:
    """The view whose clip covers a time, or is nearest to it; of its crops the middle one."""
    rows = _rows(run.clips, video.video_id, _VIEW)
    vectors = vectors_of(rows[EMBEDDING])
    places = [ViewPlace(**each) for each in rows.select(_VIEW[:-1]).to_pylist()]
    last = max(video.duration_s or 0.0, *(place.end_s for place in places))
    if not 0 <= time_s <= last:
        raise UsageError(
            f"{displayed(video.video_id)} is {last:.4g} s long; {time_s:.10g} s lies outside"
        )
    middle = middle_crop(run.load().identity.protocol)

    def distance(number: int) -> tuple[Any, ...]:
        place = places[number]
        outside = max(place.start_s - time_s, time_s - place.end_s, 0.0)
        from_middle = abs((place.start_s + place.end_s) / 2 - time_s)
        return outside, from_middle, place.clip, abs(place.crop - middle), place.crop

    best = min(range(len(places)), key=distance)
    return places[best], vectors[best : best + 1]


def _rows(table: Any, video_id: str, columns: tuple[str, ...]) -> pa.Table:
    found = list(rows_with(table, "video_id", {video_id}, columns))
    if not found:
        raise UsageError(f"{table.uri} has no row of {displayed(video_id)}, which videos/ has")
    return pa.concat_tables(found)
