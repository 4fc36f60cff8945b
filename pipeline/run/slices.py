"""Slices of a run: of one with a budget, labeled one after the other; of one with several drivers,
labeled at the same time.

Before each slice of a budget, early exit is adapted to what is left of it. The first digits of a
unit's id, which is a hash, determine its slice: each slice is a random sample of the archive, and
the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet

ID_DIGITS = 12
"""The first digits of an id that decide its slice."""

_NUMBERS: int = 16**ID_DIGITS

# More slices adapt to a budget more often, but each costs one start of the graph, which is too much
# for a slice of few units.
_SLICES = 8
_UNITS_PER_SLICE = 64

# Smallest and largest size of the pilot, in units. The cost of a view in money is unknown before
# some views are evaluated, so the budget does not limit the first slice; the pilot is only as large
# as the measurement needs.
_PILOT = 8, 1024

# Files that are read at a time: each takes several round trips to object storage.
FILES_AT_ONCE = 16


@dataclass(frozen=True)
class Slice:
    """The units with low <= unit_id < high, by their first digits.

    Attributes:
        number: from 0.
        low: hexadecimal digits.
        high: hexadecimal digits; None for the last slice.
    """

    number: int
    low: str
    high: str | None


def slices_of(units: int, *, pilot: bool = False) -> list[Slice]:
    """Slices of equal shares for a run of so many units.

    `pilot`: whether the first slice is divided into a small pilot and the rest.
    """
    count = max(1, min(_SLICES, units // _UNITS_PER_SLICE))
    edges = [number * _NUMBERS // count for number in range(count)]
    if pilot and units > 1:
        least, most = _PILOT
        size = max(min(least, units // 2), min(most, units // (2 * _SLICES)))
        edges.insert(1, _NUMBERS * size // units)
    lows = [f"{edge:0{ID_DIGITS}x}" for edge in edges]
    return [
        Slice(number, low, high)
        for number, (low, high) in enumerate(zip(lows, [*lows[1:], None], strict=True))
    ]


def slices_of_missing(
    manifest: Location, units: Location, *, most: int, least: int, within: Slice | None = None
) -> list[Slice]:
    """Slices that have the same number of units without a row.

    Args:
        manifest: folder with the units of the run.
        units: folder with the rows of the run.
        most: largest number of slices.
        least: smallest number of units of a slice; there are fewer slices where units are few.
        within: the slice that is divided; None for all units.
    """
    missing = np.setdiff1d(_digits(manifest), _digits(units))
    low, high = (f"{0:0{ID_DIGITS}x}", None) if within is None else (within.low, within.high)
    missing = missing[missing >= low.encode()]
    if high is not None:
        missing = missing[missing < high.encode()]
    count = max(1, min(most, len(missing) // least))
    inner = [missing[number * len(missing) // count].decode() for number in range(1, count)]
    return [
        Slice(number, *edges)
        for number, edges in enumerate(zip([low, *inner], [*inner, high], strict=True))
    ]


def slice_numbers(unit_ids: Iterable[str], slices: Sequence[Slice]) -> npt.NDArray[np.int64]:
    """(units,) index of each unit's slice in `slices`, which are consecutive; -1 for none."""
    lows = np.array([each.low for each in slices], dtype=np.bytes_)
    ids = np.array([unit_id[:ID_DIGITS] for unit_id in unit_ids], dtype=np.bytes_)
    numbers = np.searchsorted(lows, ids, side="right") - 1
    high = slices[-1].high
    beyond = ids >= high.encode() if high is not None else np.zeros(len(ids), np.bool_)
    return np.asarray(np.where(beyond, -1, numbers), dtype=np.int64)


def units_per_slice(folder: Location, slices: Sequence[Slice]) -> list[int]:
    """Number of units of each slice in the files of a folder."""

    def count(file: Location) -> npt.NDArray[np.int64]:
        ids = read_parquet(file, ["unit_id"])
        numbers = slice_numbers(ids["unit_id"].to_pylist(), slices)
        return np.bincount(numbers[numbers >= 0], minlength=len(slices))

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        counts = sum(pool.map(count, folder.files(".parquet")), np.zeros(len(slices), np.int64))
    return [int(count) for count in counts]


def _digits(folder: Location) -> npt.NDArray[np.bytes_]:
    """The first digits of the ids in the files of a folder, sorted; equal ones once."""

    def read(file: Location) -> npt.NDArray[np.bytes_]:
        ids = read_parquet(file, ["unit_id"])["unit_id"].to_pylist()
        return np.array([unit_id[:ID_DIGITS] for unit_id in ids], dtype=f"S{ID_DIGITS}")

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        found = list(pool.map(read, folder.files(".parquet")))
    return np.unique(np.concatenate([np.empty(0, f"S{ID_DIGITS}"), *found]))
