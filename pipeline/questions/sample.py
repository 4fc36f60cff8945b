"""The sample of a round: of each group the units whose ids are below the group's limit.

Ids are hashes, so these are random units of each group, decided before any label is known, and a
larger limit adds to a smaller one's units. Two inputs may have videos of the same ids; where the
samples of both must be independent, one of them goes by the last digits of the ids.
"""

from __future__ import annotations

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


def drawn(run: RunDirectory, limits: Limits, groups: Groups) -> pa.Table:
    """The rows of the manifest that are in the sample."""
    highest = max(limits.groups)

    def rows(file: Location) -> pa.Table | None:
        ids = read_parquet(file, ["unit_id"])["unit_id"]
        below = pc.less(ids, highest)
        if limits.by_last:
            below = pa.array(limits.keys(ids_of(ids)) < highest.encode())
        if not pc.any(below).as_py():
            return None
        table = read_parquet(file, MANIFEST_SCHEMA.names).filter(below)
        kept = limits.hold(ids_of(table["unit_id"]), groups.of(table["video_id"].to_pylist()))
        return table.filter(pa.array(kept))

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        found = [table for table in pool.map(rows, run.manifest.files(".parquet")) if table]
    return pa.concat_tables(found) if found else MANIFEST_SCHEMA.empty_table()


def ids_of(column: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """(n,) ids as bytes, which sort as texts do."""
    return np.array(column.to_pylist(), dtype=np.bytes_)
