"""Joins the units of two runs without holding either run in memory.

Each run's rows of units/ are read once and dealt out by their unit's id into files in a temporary
folder (TMPDIR says where), as many as make each small. What lies in the same file of both runs is
then joined in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.cost.runs import ComparedRun
from pipeline.reports.cost.shared import Shared
from pipeline.storage.parquet_files import parquet_file

_VIEW_FIELDS = ("clip", "crop", "label_id", "top_ids")
_COLUMNS = [
    "unit_id",
    "video_id",
    "start_s",
    "ground_truth",
    "label_id",
    "score",
    "top_ids",
    "scores",
]
_VIEWS = [f"views.list.element.{name}" for name in _VIEW_FIELDS]

# Scores that are held of each run at a time, and rows that are read at a time.
_PART_BYTES = 64 * 1024**2
_MAX_PARTS = 256
_ROWS = 8192

Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Dealt:
    """One run's units in files, `part-N`, of which N tells which ids are in it."""

    folder: Path
    parts: int

    def part(self, number: int) -> pa.Table:
        """The rows of one part."""
        with pa.OSFile(str(self.folder / f"part-{number}")) as source:
            return pa.ipc.open_stream(source).read_all().combine_chunks()


def parts_for(units: int, classes: int) -> int:
    """Into how many files that many units are dealt."""
    return min(_MAX_PARTS, max(1, -(-units * classes * 4 // _PART_BYTES)))


def deal(run: ComparedRun, folder: Path, parts: int) -> Dealt:
    """Deals out the labeled units of a run into `parts` files in a folder that is made."""
    folder.mkdir(parents=True)
    columns = _COLUMNS + (_VIEWS if run.has_segments else [])
    with ExitStack() as opened:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for table in labeled_units(run, columns):
            if not writers:
                for number in range(parts):
                    sink = opened.enter_context(pa.OSFile(str(folder / f"part-{number}"), "wb"))
                    writers.append(opened.enter_context(pa.ipc.new_stream(sink, table.schema)))
            part = _part_of(table["unit_id"], parts)
            for number in np.unique(part):
                writers[number].write_table(table.filter(pa.array(part == number)))
    return Dealt(folder, parts)


def joined(one: Dealt, other: Dealt, shared: Shared) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Rows of both runs for the units of shared videos that both labeled.

    They come in the order of their ids, so that intervals do not depend on the order of commits.
    """
    for number in range(one.parts):
        left, right = one.part(number), other.part(number).sort_by("unit_id")
        left = left.filter(pa.array(shared.places(left["video_id"]) >= 0)).combine_chunks()
        places = pc.index_in(right["unit_id"], value_set=left["unit_id"].combine_chunks())
        found = pc.is_valid(places)
        yield left.take(places.filter(found)), right.filter(found)


def labeled_units(run: ComparedRun, columns: list[str]) -> Iterator[pa.Table]:
    """Columns of the labeled units, a few thousand rows at a time."""
    for file in run.directory.units.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS, columns=[*columns, "status"]):
                table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
                yield table.filter(pc.equal(table["status"], "ok")).drop_columns(["status"])


def _part_of(ids: pa.ChunkedArray, parts: int) -> Places:
    """(n,) part of each id: a polynomial of its bytes, which is the same in every run."""
    if not len(ids):
        return np.zeros(0, np.intp)
    text = np.asarray(ids.to_numpy(zero_copy_only=False)).astype(np.bytes_)
    letters = text.view(np.uint8).reshape(len(text), -1).astype(np.uint64)
    powers = np.cumprod(np.full(letters.shape[1], 1_000_003, np.uint64))
    with np.errstate(over="ignore"):
        mixed = (letters * powers).sum(axis=1, dtype=np.uint64)
    return np.asarray((mixed >> np.uint64(16)) % np.uint64(parts)).astype(np.intp)
