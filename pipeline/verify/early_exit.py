"""Check of early exit: each unit stopped at the first view that met the threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.early_exit.budget import recorded_slices
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.run_tables import RunTables, read_tables
from pipeline.run.slices import slice_numbers
from workers.inference.early_exit import EarlyExit
from workers.sampling import Protocol
from workers.schema import UNITS_SCHEMA

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_COLUMNS = [
    "unit_id",
    "top_scores",
    "margins",
    "views.list.element.clip",
    "views.list.element.crop",
]
_NAMED = 3

# Scores of classes and margins are rounded to float32, each by itself.
_ROUNDING = 1e-6


def check_early_exit(run: RunDirectory, tables: RunTables, record: RunRecord) -> str | None:
    """What contradicts the early exit of a run; None if nothing does.

    The margins in units/ must reach the threshold at the last view of each unit and at none before.

    Args:
        run: a run with tables.
        tables: the columns of its tables.
        record: of the run.
    """
    protocol = record.identity.protocol
    slices, early_exits = recorded_slices(record)
    order = protocol.views_in_order
    rank = np.empty(len(order), np.int64)
    rank[[clip * protocol.crops + crop for clip, crop in order]] = np.arange(len(order))
    for units in read_tables(run.units, UNITS_SCHEMA, _COLUMNS):
        labeled = units.filter(pc.is_valid(units["views"])).combine_chunks()
        numbers = slice_numbers(labeled["unit_id"].to_pylist(), slices)
        wrong = _wrong_views(labeled, protocol, rank)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            if number < len(early_exits):
                wrong[mine] |= _wrong_stop(labeled.take(mine), early_exits[number], len(order))
            else:
                wrong[mine] = True
        if wrong.any():
            return _named(labeled["unit_id"].filter(pa.array(wrong)))
    return _clips(tables, protocol, rank)


def _clips(tables: RunTables, protocol: Protocol, rank: Ints) -> str | None:
    """What contradicts that clips/ holds the first views of each unit, in evaluation order."""
    unit, clip, crop, *_ = tables.clips
    number, known = _numbers(clip, crop, protocol)
    if not (known & (unit >= 0)).all():
        return "clips/ holds views of other units, or that the protocol does not have"
    counts = np.bincount(unit, minlength=len(tables.manifest))
    wrong_units = np.unique(unit[rank[number] >= counts[unit]])
    return _named(tables.manifest["unit_id"].take(wrong_units)) if len(wrong_units) else None


def _numbers(clip: Ints, crop: Ints, protocol: Protocol) -> tuple[Ints, Flags]:
    """(n,) number of each view, clip by clip and crop by crop, and whether the protocol has it."""
    known = (clip >= 0) & (clip < protocol.clips) & (crop >= 0) & (crop < protocol.crops)
    return np.where(known, clip * protocol.crops + crop, 0), known


def _wrong_stop(units: pa.Table, early_exit: EarlyExit, views: int) -> Flags:
    """(n,) whether a unit stopped elsewhere than at the threshold, or its scores contradict it."""
    counts = np.asarray(pc.list_value_length(units["views"]))
    said = np.asarray(pc.fill_null(pc.list_value_length(units["margins"]), 0))
    if (said != counts).any():
        return np.asarray(said != counts)
    margins = np.asarray(pc.list_flatten(units["margins"]), np.float64)
    ends = np.cumsum(counts)
    seen = np.arange(len(margins)) - np.repeat(ends - counts, counts) + 1
    stops = early_exit.should_stop_each(margins, seen=seen, views=views)
    is_last = seen == np.repeat(counts, counts)
    wrong_units = np.bincount(
        np.repeat(np.arange(len(units)), counts), stops != is_last, minlength=len(units)
    )
    scores = [np.asarray(pc.list_element(units["top_scores"], 0), np.float64)]
    if pc.min(pc.list_value_length(units["top_scores"])).as_py() > 1:
        scores.append(np.asarray(pc.list_element(units["top_scores"], 1), np.float64))
    last = scores[0] - sum(scores[1:])
    return np.asarray((wrong_units > 0) | (np.abs(margins[ends - 1] - last) > _ROUNDING))


def _wrong_views(units: pa.Table, protocol: Protocol, rank: Ints) -> Flags:
    """(n,) whether the views of a unit are not the first in evaluation order, sorted by clip and
    crop.
    """
    views = units["views"].combine_chunks()
    clip, crop = (np.asarray(part) for part in pc.list_flatten(views).flatten())
    parents = np.asarray(pc.list_parent_indices(views))
    counts = np.asarray(pc.list_value_length(views))
    number, known = _numbers(clip, crop, protocol)
    wrong = ~known | (rank[number] >= counts[parents])
    wrong[1:] |= (np.diff(parents) == 0) & (np.diff(number) <= 0)
    return np.asarray(np.bincount(parents[wrong], minlength=len(units)) > 0)


def _named(names: pa.ChunkedArray) -> str:
    such = ", ".join(map(str, names[:_NAMED].to_pylist()))
    return (
        f"{len(names)} units do not stop at the first view that meets the threshold, such as {such}"
    )
