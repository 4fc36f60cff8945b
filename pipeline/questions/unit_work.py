"""What labeling took of each unit of a run, and of parts of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.prices import DeviceTime, Prices, Used
from pipeline.questions.columns import Groups
from pipeline.questions.population_scores import Keys, keys_of
from pipeline.questions.sample import ids_of
from pipeline.reports.run.rows import column_batches
from pipeline.run.attempt_rows import AttemptRows
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sums import filled, nanoseconds
from pipeline.storage.addresses import IN_STORAGE
from workers.schema import UNITS_SCHEMA

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.bytes_]

_COLUMNS = ("unit_id", "video_id", "uri", "decode_ms", "bytes_read", *AttemptRows.COLUMNS)


@dataclass(frozen=True)
class Work:
    """Work on some units.

    Attributes:
        gpu_s: GPU-seconds of labeling.
        core_s: core-seconds of decoding, and of labeling on CPUs.
        money: for both and for reading; None without prices.
    """

    gpu_s: float
    core_s: float
    money: float | None

    @classmethod
    def of(cls, used: Used[float], prices: Prices | None) -> Work:
        """What was used, priced."""
        core_s = used.labeling.core_s + used.decode_s
        money = None if prices is None else prices.work(used).total
        return cls(used.labeling.gpu_s, core_s, money)

    def __add__(self, other: Work) -> Work:
        """Both together; money where both have it."""
        money = None
        if self.money is not None and other.money is not None:
            money = self.money + other.money
        return Work(self.gpu_s + other.gpu_s, self.core_s + other.core_s, money)


@dataclass(frozen=True)
class UnitWork:
    """What n units took.

    Attributes:
        keys: (n,) the first digits of the units' ids, of `keys_of`.
        groups: (n,) numbers of their groups.
        used: (n,) of each.
    """

    keys: Keys
    groups: npt.NDArray[np.int64]
    used: Used[Floats]

    @classmethod
    def read(cls, run: RunDirectory, groups: Groups) -> UnitWork:
        """Reads units/ of a run that has an attempt.

        Raises:
            OSError, pa.ArrowException: a table cannot be read.
        """
        attempts = run.load().attempts
        by_attempt = AttemptRows(attempts)
        gpus = np.array([each.labeler_gpus for each in attempts])
        cores = np.array([each.labeler_cpus for each in attempts])
        keys, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        amounts = [np.empty((5, 0))]
        for rows in column_batches(run.units, UNITS_SCHEMA, _COLUMNS):
            number = by_attempt.add(rows)
            device_s = nanoseconds(rows["device_ms"], 1e6) / 1e9
            decode_s = nanoseconds(rows["decode_ms"], 1e6) / 1e9
            keys.append(keys_of(ids_of(rows["unit_id"])))
            numbers.append(groups.of(rows["video_id"].to_pylist()))
            amounts.append(
                np.stack(
                    [
                        device_s * gpus[number],
                        device_s * cores[number],
                        decode_s,
                        filled(rows["bytes_read"]),
                        _gets(rows["uri"]),
                    ]
                )
            )
        gpu_s, core_s, *rest = np.concatenate(amounts, axis=1)
        used = Used(DeviceTime(gpu_s, core_s), *rest)
        return cls(np.concatenate(keys), np.concatenate(numbers), used)

    def of_units(self, ids: Ids) -> Used[float]:
        """What those of these units took that are among the n."""
        chosen = np.isin(self.keys, keys_of(ids))
        return self._summed(lambda values: float(values[chosen].sum()))

    def of_all(self, groups: Groups) -> Used[float]:
        """What all units of the groups would take, by the mean of the n units in each group, and by
        the mean of all n in a group without one.
        """
        counts = np.bincount(self.groups, minlength=len(groups.units))
        unseen = sum(units for units, n in zip(groups.units, counts, strict=True) if not n)
        weights = (np.array(groups.units) / np.maximum(counts, 1))[self.groups]
        weights += unseen / len(self.keys)
        return self._summed(lambda values: float(values @ weights))

    def _summed(self, total: Callable[[Floats], float]) -> Used[float]:
        used = self.used
        return Used(
            DeviceTime(total(used.labeling.gpu_s), total(used.labeling.core_s)),
            decode_s=total(used.decode_s),
            bytes_read=total(used.bytes_read),
            gets=total(used.gets),
        )


def _gets(uris: pa.Array) -> Floats:
    in_storage = pc.fill_null(pc.match_substring_regex(uris, IN_STORAGE), False)
    return np.asarray(in_storage).astype(np.float64)
