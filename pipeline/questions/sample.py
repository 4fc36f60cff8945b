"""The sample of a round: of each group the units whose ids are below the group's limit.

Ids are hashes, so these are random units of each group, decided before any label is known, and a
larger limit adds to a smaller one's units. Two inputs may have videos of the same ids; where the
samples of both must be independent, one of them goes by the last digits of the ids.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.questions.columns import Groups
from pipeline.questions.rounds import Sizes
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import FILES_AT_ONCE, ID_DIGITS
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet

_NUMBERS: int = 16**ID_DIGITS

# Samples grow by about 1.7 from round to round.
_READ_AHEAD = 4

ALL = "g"
"""The limit of a sample of all units: it comes after every hexadecimal digit."""


def limit_of(count: int, population: int) -> str:
    """The limit below which about `count` of the population's ids lie."""
    if count >= population:
        return ALL
    return f"{math.ceil(_NUMBERS * count / population):0{ID_DIGITS}x}"


@dataclass(frozen=True)
class Limits:
    """Limits of ids.

    Attributes:
        every: of the units that answer for all, which are a part of the sample.
        groups: of each group's units, none below `every`.
        by_last: whether the last digits of the ids go before the first ones.
    """

    every: str
    groups: tuple[str, ...]
    by_last: bool = False

    def keys(self, ids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
        """(n,) what limits are compared with, of ids (n,)."""
        if not self.by_last or not len(ids):
            return ids
        digits = ids.view("S1").reshape(len(ids), -1)
        turned = np.ascontiguousarray(np.roll(digits, -ID_DIGITS, axis=1))
        return turned.view(ids.dtype).ravel()

    def hold(
        self, ids: npt.NDArray[np.bytes_], groups: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """(n,) whether the sample holds units, given their ids and groups."""
        limits = np.array(self.groups, np.bytes_)
        return np.asarray(self.keys(ids) < limits[groups])

    def cover(self, other: Limits) -> bool:
        """Whether this sample holds another one."""
        return all(one >= each for one, each in zip(self.groups, other.groups, strict=True))

    def times(self, factor: int) -> Limits:
        """The limits of a sample that is so many times as large."""
        groups = tuple(_times(each, factor) for each in self.groups)
        return dataclasses.replace(self, every=_times(self.every, factor), groups=groups)


def _times(limit: str, factor: int) -> str:
    return ALL if limit == ALL else limit_of(factor * int(limit, 16), _NUMBERS)


def limits(sizes: Sizes, *, by_last: bool = False) -> tuple[Limits, Limits]:
    """The limits of the reference's and of the proxy's sample; `by_last` as of `Limits`."""
    numbers = range(len(sizes.populations))

    def of(count: int, counts: Sequence[int]) -> Limits:
        every = limit_of(count, sizes.units)
        pairs = zip(counts, sizes.populations, strict=True)
        return Limits(every, tuple(max(every, limit_of(*pair)) for pair in pairs), by_last)

    return (
        of(sizes.reference, [sizes.of_group(number)[0] for number in numbers]),
        of(sizes.proxy, [sizes.of_group(number)[1] for number in numbers]),
    )


class Manifest:
    """The rows of a run's manifest, sample by sample.

    A manifest of 100 million rows takes minutes to read, so what is read holds the samples of
    further rounds too.

    Args:
        run: whose manifest it is.
        groups: of its units.
    """

    def __init__(self, run: RunDirectory, groups: Groups) -> None:
        self._run = run
        self._groups = groups
        self._held: Limits | None = None
        self._rows = MANIFEST_SCHEMA.empty_table()

    def drawn(self, sample: Limits) -> pa.Table:
        """The rows that are in a sample."""
        if self._held is None or not self._held.cover(sample):
            self._held = sample.times(_READ_AHEAD)
            self._rows = self._read(self._held)
        return self._within(self._rows, sample)

    def _read(self, sample: Limits) -> pa.Table:
        highest = max(sample.groups)

        def rows(file: Location) -> pa.Table | None:
            ids = read_parquet(file, ["unit_id"])["unit_id"]
            below = pc.less(ids, highest)
            if sample.by_last:
                below = pa.array(sample.keys(ids_of(ids)) < highest.encode())
            if not pc.any(below).as_py():
                return None
            table = read_parquet(file, MANIFEST_SCHEMA.names).replace_schema_metadata(None)
            return self._within(table.filter(below), sample)

        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            files = self._run.manifest.files(".parquet")
            found = [table for table in pool.map(rows, files) if table is not None]
        return pa.concat_tables(found) if found else MANIFEST_SCHEMA.empty_table()

    def _within(self, rows: pa.Table, sample: Limits) -> pa.Table:
        groups = self._groups.of(rows["video_id"].to_pylist())
        return rows.filter(pa.array(sample.hold(ids_of(rows["unit_id"]), groups), pa.bool_()))


def ids_of(column: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """(n,) ids as bytes, which sort as texts do."""
    return np.array(column.to_pylist(), dtype=np.bytes_)
