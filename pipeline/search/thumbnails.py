"""Frames of videos that a search found, decoded again in the sandbox."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.reports.tokens.decoding import ViewDecoder, view_frames
from pipeline.reports.tokens.images import jpeg
from pipeline.reports.tokens.lookup import RunFacts, ViewRows, middle_crop
from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory
from pipeline.search.query import ViewPlace
from pipeline.storage.location import Location

_VIEW = ("video_id", "unit_id", "clip", "crop", "start_s", "end_s")
_UNIT = ("unit_id", "uri", "part", "start_s", "end_s", "etag", "bytes_read", "frame_count")
_SIDE = 224
_QUALITY = 70


@dataclass(frozen=True)
class Thumbnail:
    """The frame in the middle of a view.

    Attributes:
        image: a data: address of a JPEG; "" where there is none.
        reason: why there is none.
    """

    image: str = ""
    reason: str = ""


def thumbnails(
    run: RunDirectory, views: Mapping[str, ViewPlace | None], *, most: int
) -> dict[str, Thumbnail]:
    """Thumbnails of some videos, by id; without one, each says why.

    Args:
        run: a finished run.
        views: by video id; None for the middle crop of the video's first clip.
        most: number of videos that are decoded, the first ones.
    """
    wanted = dict(list(views.items())[:most])
    found = {
        video: Thumbnail(reason=f"only the first {most:,} videos have one")
        for video in views
        if video not in wanted
    }
    if not wanted:
        return found
    try:
        facts = RunFacts.of(run)
        rows = _view_rows(facts, wanted)
        decoder = ViewDecoder(facts)
    except (UsageError, RuntimeError, OSError, pa.ArrowException) as error:
        return found | dict.fromkeys(wanted, Thumbnail(reason=_line(error)))
    with closing(decoder):
        for video in wanted:
            found[video] = _thumbnail(decoder, rows.get(video))
    return found


def _thumbnail(decoder: ViewDecoder, found: ViewRows | None) -> Thumbnail:
    if found is None:
        return Thumbnail(reason="it has no views")
    try:
        frames = view_frames(found, decoder.decode(found))
    except (UsageError, RuntimeError, OSError, pa.ArrowException) as error:
        return Thumbnail(reason=_line(error))
    frame = frames[len(frames) // 2]
    if len(frame) > _SIDE:
        frame = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg(frame, _QUALITY)).decode())


def _view_rows(facts: RunFacts, wanted: Mapping[str, ViewPlace | None]) -> dict[str, ViewRows]:
    """The rows of the views, from one pass over each table."""
    middle = middle_crop(facts.protocol)
    views: dict[str, dict[str, Any]] = {}

    def rank(row: dict[str, Any]) -> tuple[Any, ...]:
        place = wanted[row["video_id"]]
        asked = place is not None and (place.clip, place.crop) == (row["clip"], row["crop"])
        return not asked, row["clip"], abs(row["crop"] - middle), row["crop"]

    for row in _rows(facts.run.clips, "video_id", set(wanted), _VIEW):
        known = views.get(row["video_id"])
        if known is None or rank(row) < rank(known):
            views[row["video_id"]] = row
    units = {
        row["unit_id"]: row
        for row in _rows(
            facts.run.units, "unit_id", {view["unit_id"] for view in views.values()}, _UNIT
        )
    }
    return {
        video: ViewRows(facts, {"video_id": video}, units[view["unit_id"]], view)
        for video, view in views.items()
        if view["unit_id"] in units
    }


def _rows(
    table: Location, column: str, values: set[str], columns: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    for rows in rows_with(table, column, values, columns) if values else ():
        yield from rows.to_pylist()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
