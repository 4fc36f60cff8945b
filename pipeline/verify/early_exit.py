"""Proof that each unit was looked at as its policy says: views in their order, until settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.early_exit.budget import early_exits_by_slice
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_tables import Evidence, tables
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


def looked_at(run: RunDirectory, evidence: Evidence, content: dict[str, Any]) -> str | None:
    """What contradicts the policy of a run; None if nothing does.

    Args:
        run: a run with tables.
        evidence: what is known of them.
        content: its run.json, with its policy.
    """
    protocol = content["identity"]["protocol"]
    slices, early_exits = early_exits_by_slice(content)
    order = Protocol(**protocol).views_in_order
    places = np.empty(len(order), np.int64)
    places[[clip * protocol["crops"] + crop for clip, crop in order]] = np.arange(len(order))
    for units in tables(run.units, UNITS_SCHEMA, _COLUMNS):
        labeled = units.filter(pc.is_valid(units["views"])).combine_chunks()
        numbers = slice_numbers(labeled["unit_id"].to_pylist(), slices)
        wrong = _misplaced(labeled, protocol, places)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            if number < len(early_exits):
                wrong[mine] |= _misjudged(labeled.take(mine), early_exits[number], len(order))
            else:
                wrong[mine] = True
        if wrong.any():
            return _named(labeled["unit_id"].filter(pa.array(wrong)))
    return _clips(evidence, protocol, places)


def _clips(evidence: Evidence, protocol: dict[str, Any], places: Ints) -> str | None:
    """Whether clips/ tells of other views than the first of the order of each unit."""
    unit, clip, crop, *_ = evidence.clips
    number, known = _numbers(clip, crop, protocol)
    if not (known & (unit >= 0)).all():
        return "clips/ holds views of other units, or that the protocol does not have"
    looks = np.bincount(unit, minlength=len(evidence.manifest))
    astray = np.unique(unit[places[number] >= looks[unit]])
    return _named(evidence.manifest["unit_id"].take(astray)) if len(astray) else None


def _numbers(clip: Ints, crop: Ints, protocol: dict[str, Any]) -> tuple[Ints, Flags]:
    """(n,) number of each view, clip by clip and crop by crop, and whether the protocol has it."""
    known = (clip >= 0) & (clip < protocol["clips"]) & (crop >= 0) & (crop < protocol["crops"])
    return np.where(known, clip * protocol["crops"] + crop, 0), known


def _misjudged(units: pa.Table, early_exit: EarlyExit, views: int) -> Flags:
    """(n,) whether a unit's margins end elsewhere than at the threshold, or not in its scores."""
    counts = np.asarray(pc.list_value_length(units["views"]))
    said = np.asarray(pc.fill_null(pc.list_value_length(units["margins"]), 0))
    if (said != counts).any():
        return np.asarray(said != counts)
    margins = np.asarray(pc.list_flatten(units["margins"]), np.float64)
    ends = np.cumsum(counts)
    seen = np.arange(len(margins)) - np.repeat(ends - counts, counts) + 1
    settled = early_exit.should_stop_each(margins, seen=seen, views=views)
    is_last = seen == np.repeat(counts, counts)
    astray = np.bincount(
        np.repeat(np.arange(len(units)), counts), settled != is_last, minlength=len(units)
    )
    scores = [np.asarray(pc.list_element(units["top_scores"], 0), np.float64)]
    if pc.min(pc.list_value_length(units["top_scores"])).as_py() > 1:
        scores.append(np.asarray(pc.list_element(units["top_scores"], 1), np.float64))
    last = scores[0] - sum(scores[1:])
    return np.asarray((astray > 0) | (np.abs(margins[ends - 1] - last) > _ROUNDING))


def _misplaced(units: pa.Table, protocol: dict[str, Any], places: Ints) -> Flags:
    """(n,) whether the views of a unit are not the first of the order, clip by clip and crop by
    crop.
    """
    views = units["views"].combine_chunks()
    clip, crop = (np.asarray(part) for part in pc.list_flatten(views).flatten())
    parents = np.asarray(pc.list_parent_indices(views))
    counts = np.asarray(pc.list_value_length(views))
    number, known = _numbers(clip, crop, protocol)
    wrong = ~known | (places[number] >= counts[parents])
    wrong[1:] |= (np.diff(parents) == 0) & (np.diff(number) <= 0)
    return np.asarray(np.bincount(parents[wrong], minlength=len(units)) > 0)


def _named(names: pa.ChunkedArray) -> str:
    such = ", ".join(map(str, names[:_NAMED].to_pylist()))
    return f"{len(names)} units were looked at otherwise, such as {such}"
