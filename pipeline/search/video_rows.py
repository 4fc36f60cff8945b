"""Rows of videos/ of the videos that a search found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory


@dataclass(frozen=True)
class VideoRow:
    """What videos/ says of a video.

    Attributes:
        video_id: the video.
        uri: its path or address.
        part: where it lies within uri; None if uri is the video.
        status: "ok" or "failed".
        label: its label; None if it failed.
        score: probability of that class.
        duration_s: its duration, seconds.
        ground_truth: label that the input gives.
    """

    video_id: str
    uri: str
    part: str | None
    status: str
    label: str | None
    score: float | None
    duration_s: float | None
    ground_truth: str | None


COLUMNS = tuple(VideoRow.__dataclass_fields__)


def video_rows(run: RunDirectory, column: str, values: Collection[str]) -> list[VideoRow]:
    """The rows of videos/ in which a column has one of some values, in their order."""
    if not values:
        return []
    tables = rows_with(run.videos, column, values, COLUMNS)
    return [VideoRow(**row) for table in tables for row in table.to_pylist()]


def rows_of(run: RunDirectory, video_ids: Sequence[str]) -> dict[str, VideoRow]:
    """The rows of some videos, by id."""
    return {row.video_id: row for row in video_rows(run, "video_id", set(video_ids))}
