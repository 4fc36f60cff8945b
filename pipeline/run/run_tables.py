"""Columns of a run's tables for verification, read once and held as arrays.

A night's run has tens of millions of views: ids become row indices of the manifest, and every
comparison is one of arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sampled import to_label
from pipeline.run.tables import CLIPS_SCHEMA, VIDEOS_SCHEMA
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from workers.schema import UNITS_SCHEMA

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Views whose kept-token maps are checked together: about 10 MB.
_BATCH_ROWS = 16_384


class RunTables:
    """Columns of the tables of a run; each property reads its file on first use.

    Properties raise OSError or pa.ArrowException if a file cannot be read, and pa.ArrowInvalid if
    it has another schema.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    @cached_property
    def manifest(self) -> pa.Table:
        """unit_id, video_id, start_s, end_s of every unit that the run is to label."""
        columns = ["unit_id", "video_id", "start_s", "end_s"]
        return _columns(to_label(self._run), MANIFEST_SCHEMA, columns)

    @cached_property
    def units(self) -> pa.Table:
        """Columns of units/; `views` is the number of views."""
        names = ["unit_id", "video_id", "status", "error_type", "error", "label", "flops"]
        names += ["label_id", "unpruned_label_id", "unpruned_flops"]
        table = _columns(self._run.units, UNITS_SCHEMA, [*names, "views.list.element.clip"])
        place = table.schema.get_field_index("views")
        counts = pc.fill_null(pc.list_value_length(table["views"]), 0)
        return table.set_column(place, "views", counts)

    @cached_property
    def videos(self) -> pa.Table:
        """Columns of videos/."""
        names = [
            "video_id",
            "status",
            "flops",
            "num_views",
            "units",
            "units_failed",
            "unpruned_flops",
        ]
        return _columns(self._run.videos, VIDEOS_SCHEMA, names)

    @cached_property
    def video_ids(self) -> pa.Array:
        """Ids of all videos of the manifest, each once."""
        return pc.unique(self.manifest["video_id"])

    @cached_property
    def video_of_unit(self) -> Ints:
        """(units,) index into `video_ids` of each row of the manifest."""
        return _places(self.manifest["video_id"], self.video_ids)

    @cached_property
    def unit_rows(self) -> Ints:
        """Row of the manifest for each row of `units`; -1 if the manifest does not have it."""
        return _places(self.units["unit_id"], self.manifest["unit_id"].combine_chunks())

    @cached_property
    def video_rows(self) -> Ints:
        """Index into `video_ids` of each row of `videos`; -1 if the manifest does not have it."""
        return _places(self.videos["video_id"], self.video_ids)

    @cached_property
    def clips(self) -> tuple[Ints, Ints, Ints, Ints, Flags]:
        """(row of the unit in the manifest or -1, clip, crop, flops, whether it was also labeled
        without pruning) of each view.
        """
        names = ["unit_id", "clip", "crop", "flops", "unpruned_label_id"]
        ids = self.manifest["unit_id"].combine_chunks()
        parts: list[list[npt.NDArray[Any]]] = []
        for table in read_tables(self._run.clips, CLIPS_SCHEMA, names):
            numbers = map(_numbers, table.columns[1:4])
            shadowed = np.asarray(pc.is_valid(table["unpruned_label_id"]))
            parts.append([_places(table["unit_id"], ids), *numbers, shadowed])
        if not parts:
            none = np.zeros(0, np.int64)
            return none, none, none, none, none.astype(np.bool_)
        unit, clip, crop, flops, shadowed = (np.concatenate(p) for p in zip(*parts, strict=True))
        return unit, clip, crop, flops, shadowed

    def kept_token_maps(self) -> Iterator[pa.Table]:
        """video_id, flops, tokens_kept and kept_token_maps of the views, a few at a time."""
        names = ["video_id", "flops", "tokens_kept", "kept_token_maps"]
        for file in self._run.clips.files(".parquet"):
            with _opened(file, CLIPS_SCHEMA) as opened:
                for batch in opened.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                    yield pa.Table.from_batches([batch])


def read_tables(folder: Location, schema: pa.Schema, columns: list[str]) -> Iterator[pa.Table]:
    """Yields the tables of a folder, file by file; another schema raises pa.ArrowInvalid."""
    for file in folder.files(".parquet"):
        yield read_table(file, schema, columns)


def read_table(file: Location, schema: pa.Schema, columns: list[str]) -> pa.Table:
    """Reads the table of a file; another schema raises pa.ArrowInvalid."""
    with _opened(file, schema) as opened:
        return opened.read(columns=columns)


def _opened(file: Location, schema: pa.Schema) -> pq.ParquetFile:
    opened = parquet_file(file)
    if not opened.schema_arrow.equals(schema):
        opened.close()
        raise pa.ArrowInvalid(f"{file.uri} does not have the columns of its schema")
    return opened


def _columns(folder: Location, schema: pa.Schema, columns: list[str]) -> pa.Table:
    parts = [part.replace_schema_metadata(None) for part in read_tables(folder, schema, columns)]
    if parts:
        return pa.concat_tables(parts)
    tops = list(dict.fromkeys(name.partition(".")[0] for name in columns))
    return pa.schema([schema.field(name) for name in tops]).empty_table()


def _places(values: pa.ChunkedArray, known: pa.Array) -> Ints:
    return np.asarray(pc.fill_null(pc.index_in(values, value_set=known), -1)).astype(np.int64)


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.asarray(pc.fill_null(values, 0))


def sum_by(places: Ints, values: Ints, count: int) -> Ints:
    """(count,) exact sums of `values` with equal `places`; places of -1 are left out."""
    sums = np.zeros(count, dtype=np.int64)
    known = places >= 0
    np.add.at(sums, places[known], values[known])
    return sums
