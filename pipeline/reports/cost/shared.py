"""The videos that every run labeled, and what each run's rows say of them.

Sums are exact. FLOPs and bytes are integers; times are added in whole nanoseconds,
floor(ms * 1e6 + 0.5) of each row, so that a sum does not depend on the order of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.cost.runs import Run
from pipeline.run.run_tables import exact_sum, tables
from pipeline.run.tables import VIDEOS_SCHEMA
from pipeline.storage.addresses import S3_SCHEME

Ints = npt.NDArray[np.int64]

_OK, _FAILED = 1, 2
_COLUMNS = [
    "video_id", "uri", "status", "label", "ground_truth", "ground_truth_id", "clips", "flops",
    "device_ms",
    "decode_ms", "bytes_read", "duration_s", "units", "units_failed", "unpruned_flops",
    "unpruned_device_ms",
]  # fmt: skip
_PER_VIDEO = ("device_ns", "decode_ns", "bytes_read", "gets")


@dataclass(frozen=True)
class Shared:
    """The videos that every run labeled.

    Attributes:
        ids: (videos,) their ids.
        all: videos that stand in any of the runs.
        reasons: why the others are left out, with their numbers, the most frequent first.
    """

    ids: pa.Array
    all: int
    reasons: tuple[tuple[str, int], ...]

    def places(self, ids: pa.Array | pa.ChunkedArray) -> Ints:
        """(n,) place of each id among the shared videos; -1 for others."""
        return _places(ids, self.ids)


@dataclass(frozen=True)
class Work:
    """What labeling took, as exact sums over rows of videos/.

    Attributes:
        videos: rows.
        views: rows of clips/ that belong to them.
        flops: multiply-accumulates of those views.
        device_ns: device time of those views.
        decode_ns: CPU time of fetching and decoding.
        bytes_read: bytes read from storage.
        gets: reads of objects: one per unit of a video in object storage.
        video_ns: length of the labeled videos.
        unpruned_flops: multiply-accumulates of the shadow sample, beside flops.
        unpruned_device_ns: device time of the shadow sample, beside device_ns.
    """

    videos: int = 0
    views: int = 0
    flops: int = 0
    device_ns: int = 0
    decode_ns: int = 0
    bytes_read: int = 0
    gets: int = 0
    video_ns: int = 0
    unpruned_flops: int = 0
    unpruned_device_ns: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self._sums(), other._sums(), strict=True)))

    def _sums(self) -> tuple[int, ...]:
        return tuple(vars(self).values())

    @property
    def video_hours(self) -> float:
        """Hours of video."""
        return self.video_ns / 3.6e12

    @property
    def device_s(self) -> float:
        """Seconds of device time."""
        return self.device_ns / 1e9

    @property
    def decode_s(self) -> float:
        """Core-seconds of fetching and decoding."""
        return self.decode_ns / 1e9

    @property
    def unpruned_device_s(self) -> float:
        """Seconds of the shadow sample's device time."""
        return self.unpruned_device_ns / 1e9


@dataclass(frozen=True)
class Rows:
    """What one run's rows say.

    Attributes:
        shared: sums over the shared videos.
        whole: sums over all rows of the run, failed ones included.
        ok: labeled videos of the run.
        ok_ns: their length.
        incomplete: shared videos of which segments failed.
        device_ns: (videos,) device time of each shared video.
        decode_ns: (videos,) decoding time of each shared video.
        bytes_read: (videos,) bytes of each shared video.
        gets: (videos,) reads of objects of each shared video.
        right: (videos,) 1 where the label is the true one, 0 where not, -1 where no class of the
            model was given.
    """

    shared: Work
    whole: Work
    ok: int
    ok_ns: int
    incomplete: int
    device_ns: Ints
    decode_ns: Ints
    bytes_read: Ints
    gets: Ints
    right: npt.NDArray[np.int8]


def find_shared(runs: Sequence[Run]) -> Shared:
    """Which videos all runs labeled; two small columns of each run are read."""
    known = pa.array([], pa.string())
    states: list[npt.NDArray[np.int8]] = []
    for run in runs:
        ids, state = _states(run)
        places = _places(ids, known)
        known = pa.concat_arrays([known, ids.filter(pa.array(places < 0))])
        of_run = np.zeros(len(known), np.int8)
        of_run[_places(ids, known)] = state
        states.append(of_run)
    every = np.zeros((len(runs), len(known)), np.int8)
    for row, of_run in zip(every, states, strict=True):
        row[: len(of_run)] = of_run
    labeled = (every == _OK).all(axis=0)
    return Shared(known.filter(pa.array(labeled)), len(known), _reasons(runs, every))


def _reasons(runs: Sequence[Run], every: npt.NDArray[np.int8]) -> tuple[tuple[str, int], ...]:
    """Each video that is left out counts once, under the runs that did not label it."""
    left_out = every[:, (every != _OK).any(axis=0)]
    reasons = []
    states, counts = np.unique(left_out, axis=1, return_counts=True)
    for column, count in zip(states.T, counts, strict=True):
        failed = [run.name for run, state in zip(runs, column, strict=True) if state == _FAILED]
        absent = [run.name for run, state in zip(runs, column, strict=True) if state == 0]
        said = [f"failed in {', '.join(failed)}"] if failed else []
        said += [f"not in {', '.join(absent)}"] if absent else []
        reasons.append((" and ".join(said), int(count)))
    return tuple(sorted(reasons, key=lambda reason: -reason[1]))


def _states(run: Run) -> tuple[pa.Array, npt.NDArray[np.int8]]:
    ids, states = [pa.array([], pa.string())], [np.zeros(0, np.int8)]
    for table in tables(run.directory.videos, VIDEOS_SCHEMA, ["video_id", "status"]):
        ids.extend(table["video_id"].chunks)
        ok = np.asarray(pc.equal(table["status"], "ok"))
        states.append(np.where(ok, _OK, _FAILED).astype(np.int8))
    return pa.concat_arrays(ids), np.concatenate(states)


def read_rows(run: Run, shared: Shared) -> Rows:
    """Reads videos/ of a run, file by file."""
    count = len(shared.ids)
    columns = {name: np.zeros(count, np.int64) for name in _PER_VIDEO}
    right = np.full(count, -1, np.int8)
    of_shared = whole = Work()
    ok = ok_ns = incomplete = 0
    for table in tables(run.directory.videos, VIDEOS_SCHEMA, _COLUMNS):
        numbers = _numbers(table)
        labeled = np.asarray(pc.equal(table["status"], "ok"))
        places = shared.places(table["video_id"])
        chosen = places >= 0
        whole += _work(numbers, np.ones(len(places), np.bool_))
        of_shared += _work(numbers, chosen)
        ok += int(labeled.sum())
        ok_ns += exact_sum(numbers["video_ns"][labeled])
        incomplete += int((numbers["units_failed"][chosen] > 0).sum())
        for name, column in columns.items():
            column[places[chosen]] = numbers[name][chosen]
        right[places[chosen]] = _right(table)[chosen]
    return Rows(
        of_shared,
        whole,
        ok,
        ok_ns,
        incomplete,
        device_ns=columns["device_ns"],
        decode_ns=columns["decode_ns"],
        bytes_read=columns["bytes_read"],
        gets=columns["gets"],
        right=right,
    )


def _numbers(table: pa.Table) -> dict[str, Ints]:
    """(rows,) integers of each kind that is added up."""
    in_storage = np.asarray(pc.starts_with(table["uri"], S3_SCHEME))
    units = _filled(table["units"]).astype(np.int64)
    return {
        "views": _filled(table["clips"]).astype(np.int64),
        "flops": _filled(table["flops"]),
        "device_ns": nanoseconds(table["device_ms"], 1e6),
        "decode_ns": nanoseconds(table["decode_ms"], 1e6),
        "bytes_read": _filled(table["bytes_read"]),
        "gets": np.where(in_storage, units, 0),
        "video_ns": nanoseconds(table["duration_s"], 1e9),
        "unpruned_flops": _filled(table["unpruned_flops"]),
        "unpruned_device_ns": nanoseconds(table["unpruned_device_ms"], 1e6),
        "units_failed": _filled(table["units_failed"]).astype(np.int64),
    }


def _work(numbers: dict[str, Ints], chosen: npt.NDArray[np.bool_]) -> Work:
    names = [name for name in vars(Work()) if name != "videos"]
    sums = {name: exact_sum(numbers[name][chosen]) for name in names}
    return Work(videos=int(chosen.sum()), **sums)


def _right(table: pa.Table) -> npt.NDArray[np.int8]:
    same = pc.equal(table["ground_truth"], table["label"]).cast(pa.int8())
    judged = pc.if_else(pc.is_valid(table["ground_truth_id"]), same, -1)
    return np.asarray(pc.fill_null(judged, -1)).astype(np.int8)


def nanoseconds(values: pa.ChunkedArray, per_unit: float) -> Ints:
    """(n,) whole nanoseconds of times, `per_unit` to one; null is none."""
    return np.floor(_filled(values) * per_unit + 0.5).astype(np.int64)


def _filled(values: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.asarray(pc.fill_null(values, 0))


def _places(ids: pa.Array | pa.ChunkedArray, known: pa.Array) -> Ints:
    found = pc.fill_null(pc.index_in(ids, value_set=known), -1)
    return np.asarray(found).astype(np.int64)
