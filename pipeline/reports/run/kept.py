"""Kept tokens by position and time, over the views of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file

Floats = npt.NDArray[np.float64]

MOST_VIEWS = 200_000

# VideoSwin has so many tokens that its views are bounded by their bits: a few seconds' work.
_MOST_BITS = 4 * 10**9
_BITS_AT_ONCE = 10**7


@dataclass(frozen=True)
class KeptStage:
    """The tokens of one pruning stage.

    Attributes:
        grid: (temporal positions, rows, columns).
        share: of all tokens, those kept.
        by_time: (temporal positions,) share kept of each.
        by_position: (rows, columns) share kept of each, averaged over time.
    """

    grid: tuple[int, int, int]
    share: float
    by_time: Floats
    by_position: Floats


@dataclass(frozen=True)
class KeptFigures:
    """Kept tokens of the run's views.

    Attributes:
        views: views that were counted.
        of_views: views of the run.
        stages: one per pruning stage.
    """

    views: int
    of_views: int
    stages: list[KeptStage]


def read_kept(
    run: RunDirectory, grids: Sequence[Sequence[int]], *, most_views: int = MOST_VIEWS
) -> KeptFigures | None:
    """Reads kept-token maps of all views, or of `most_views` (fewer for large grids) spread evenly.

    Args:
        run: a run with its tables.
        grids: (temporal positions, rows, columns) of each pruning stage.
        most_views: how many views to read at the most.

    Returns None where nothing was pruned or no view is labeled.
    """
    if not grids:
        return None
    bits = sum(map(math.prod, grids))
    groups = _groups(run.clips)
    chosen = _spread(groups, min(most_views, max(1, _MOST_BITS // bits)))
    sums = [np.zeros(math.prod(grid), np.int64) for grid in grids]
    views = 0
    for batch in _batches(chosen, max(1, _BITS_AT_ONCE // bits)):
        views += len(batch)
        for stage, counts in enumerate(sums):
            counts += _kept(pc.list_element(batch, stage), len(counts))
    if not views:
        return None
    stages = [
        _stage((slots, rows, columns), counts / views)
        for (slots, rows, columns), counts in zip(grids, sums, strict=True)
    ]
    return KeptFigures(views, sum(group.rows for group in groups), stages)


@dataclass(frozen=True)
class _Group:
    """The first `rows` rows of row group `number` of a Parquet file."""

    file: Location
    number: int
    rows: int


def _groups(folder: Location) -> list[_Group]:
    found = []
    for file in folder.files(".parquet"):
        with parquet_file(file) as opened:
            metadata = opened.metadata
        for number in range(metadata.num_row_groups):
            rows = metadata.row_group(number).num_rows
            if rows:
                found.append(_Group(file, number, rows))
    return found


def _spread(groups: list[_Group], most: int) -> list[_Group]:
    """Groups at even distances that hold so many rows at the most; all where that is enough."""
    rows = sum(group.rows for group in groups)
    if rows <= most:
        return groups
    count = max(1, most * len(groups) // rows)
    places = np.linspace(0, len(groups) - 1, count).round().astype(int)
    each = max(1, most // count)
    return [
        _Group(groups[place].file, groups[place].number, min(each, groups[place].rows))
        for place in places
    ]


def _batches(groups: list[_Group], rows: int) -> Iterator[pa.ListArray]:
    """Kept maps of the groups, so many views at a time."""
    for group in groups:
        with parquet_file(group.file) as opened:
            left = group.rows
            for batch in opened.iter_batches(rows, [group.number], columns=["kept_token_maps"]):
                yield batch["kept_token_maps"].slice(0, left)
                left -= batch.num_rows
                if left <= 0:
                    break


def _kept(packed: pa.BinaryArray, tokens: int) -> npt.NDArray[np.int64]:
    """(tokens,) in how many of the views each token was kept."""
    width = -(-tokens // 8)
    joined = b"".join(packed.to_pylist())
    rows = np.frombuffer(joined, np.uint8).reshape(len(packed), width)
    bits = np.unpackbits(rows, axis=1, count=tokens)
    return np.asarray(bits.sum(axis=0, dtype=np.int64))


def _stage(grid: tuple[int, int, int], shares: Floats) -> KeptStage:
    """From the share of views, one per token, in which it was kept."""
    shares = shares.reshape(grid)
    return KeptStage(grid, float(shares.mean()), shares.mean(axis=(1, 2)), shares.mean(axis=0))
