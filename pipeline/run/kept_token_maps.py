"""Reads the kept-token maps of a run as arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from workers.inference.masks import unpack_mask

Mask = npt.NDArray[np.bool_]
# Temporal positions, rows and columns.
Grid = tuple[int, int, int]

_COLUMNS = ("video_id", "unit_id", "clip", "crop", "start_s", "end_s", "kept_token_maps")
_ROWS_AT_ONCE = 4096
_EXAMPLES = 3


@dataclass(frozen=True)
class KeptTokenMaps:
    """Which tokens were kept in V views of one video.

    Attributes:
        video_id: the video.
        clips: int32 (V,), clip of each view.
        crops: int32 (V,), crop of each view.
        times: float64 (V, 2), seconds in the video of the clip's first and last frame.
        stages: for each pruning stage one bool array (V, n_t, rows, columns), True = kept. Temporal
            position t covers frames t * T / n_t up to (t + 1) * T / n_t of the clip's T. Empty
            for a run without pruning.
    """

    video_id: str
    clips: npt.NDArray[np.int32]
    crops: npt.NDArray[np.int32]
    times: npt.NDArray[np.float64]
    stages: tuple[Mask, ...]


@overload
def read_kept_token_maps(output: str | Path) -> Iterator[KeptTokenMaps]: ...


@overload
def read_kept_token_maps(output: str | Path, video_id: str) -> KeptTokenMaps: ...


def read_kept_token_maps(
    output: str | Path, video_id: str | None = None
) -> KeptTokenMaps | Iterator[KeptTokenMaps]:
    """Reads the kept-token maps of one video, or of a whole run.

    Args:
        output: directory or s3://bucket/prefix of a finished run.
        video_id: the video; None for all videos.

    Returns:
        For one video, all its evaluated views, ordered by clip and crop. For a run, an iterator
        over units, in the order of the files: each item has the views of a whole video, or of one
        segment of a long video. It holds one unit and a few thousand rows in memory.

    Raises:
        UsageError: there is no finished run, or it has no such video, or no label for it.
    """
    run = RunDirectory(Location.of(str(output)))
    grids = kept_grids(run)
    if video_id is None:
        return _every_unit(run, grids)
    rows: list[dict[str, Any]] = []
    for table in rows_with(run.clips, "video_id", {video_id}, _COLUMNS):
        rows += table.to_pylist()
    if not rows:
        raise UsageError(why_absent(run, video_id))
    return _arrays(sorted(rows, key=lambda row: (row["clip"], row["crop"])), grids)


def kept_grids(run: RunDirectory) -> list[Grid]:
    """(n_t, rows, columns) of each pruning stage of a finished run; empty if it was not pruned.

    Raises:
        UsageError: there is no run, or its tables are not written yet.
    """
    files = run.clips.files(".parquet")
    if not run.exists() or not files:
        unfinished = "is not finished; its tables are written at the end"
        state = unfinished if run.exists() else "holds no run"
        raise UsageError(f"{run.root.uri} {state}")
    with parquet_file(files[0]) as opened:
        metadata = opened.schema_arrow.metadata or {}
    return [
        (n_t, rows, columns)
        for n_t, rows, columns in json.loads(metadata.get(b"kept_grids", b"[]"))
    ]


def unpacked(packed: bytes, grid: Grid) -> Mask:
    """Unpacks one kept-token map to bool (n_t, rows, columns)."""
    n_t, rows, columns = grid
    return unpack_mask(packed, (n_t, rows * columns)).reshape(grid)


def why_absent(run: RunDirectory, video_id: str) -> str:
    """Why a finished run has no views of a video, in one line."""
    for table in rows_with(run.videos, "video_id", {video_id}, ["error_type", "error"]):
        row = table.to_pylist()[0]
        return f"{video_id} has no labels: it failed as {row['error_type']} ({row['error']})"
    return f"{run.root.uri} has no video {video_id!r}; it has {_examples(run)}"


def _examples(run: RunDirectory) -> str:
    total = 0
    some: list[str] = []
    for file in run.videos.files(".parquet"):
        with parquet_file(file) as parquet:
            total += parquet.metadata.num_rows
            if len(some) < _EXAMPLES:
                batch = next(parquet.iter_batches(_EXAMPLES, columns=["video_id"]), None)
                some += [] if batch is None else batch["video_id"].to_pylist()
    shown = ", ".join(some[:_EXAMPLES])
    return f"{shown} and {total - _EXAMPLES:,} more" if total > _EXAMPLES else shown or "none"


def _every_unit(run: RunDirectory, grids: list[Grid]) -> Iterator[KeptTokenMaps]:
    for _, views in groupby(_rows(run.clips), key=lambda row: row["unit_id"]):
        yield _arrays(list(views), grids)


def _rows(clips: Location) -> Iterator[dict[str, Any]]:
    for file in clips.files(".parquet"):
        with parquet_file(file) as parquet:
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=list(_COLUMNS)):
                yield from pa.Table.from_batches([batch]).to_pylist()


def _arrays(rows: list[dict[str, Any]], grids: list[Grid]) -> KeptTokenMaps:
    return KeptTokenMaps(
        video_id=rows[0]["video_id"],
        clips=np.array([row["clip"] for row in rows], dtype=np.int32),
        crops=np.array([row["crop"] for row in rows], dtype=np.int32),
        times=np.array([(row["start_s"], row["end_s"]) for row in rows], dtype=np.float64),
        stages=tuple(
            np.stack([unpacked(row["kept_token_maps"][stage], grid) for row in rows])
            for stage, grid in enumerate(grids)
        ),
    )
