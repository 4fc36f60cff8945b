"""The videos that every run labeled, and the sums of each run over their rows.

Sums are exact. FLOPs and bytes are integers; times are added in whole nanoseconds,
floor(ms * 1e6 + 0.5) of each row, so that a sum does not depend on the order of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.prices import DeviceTime, Used
from pipeline.reports.cost.runs import ComparedRun
from pipeline.run.attempt_rows import AttemptRows
from pipeline.run.run_tables import read_tables
from pipeline.run.sums import Ints, exact_sum, filled, nanoseconds
from pipeline.run.tables import VIDEOS_SCHEMA
from pipeline.storage.addresses import IN_STORAGE
from workers.schema import UNITS_SCHEMA

_OK, _FAILED = 1, 2
_COLUMNS = [
    "video_id", "uri", "status", "label", "ground_truth", "ground_truth_id", "num_views", "flops",
    "device_ms",
    "decode_ms", "bytes_read", "duration_s", "units", "units_failed", "unpruned_flops",
    "unpruned_device_ms",
]  # fmt: skip
_PER_VIDEO = ("device_ns", "decode_ns", "bytes_read", "gets")
# Rows of units/ that are matched with the shared videos at a time.
_ROWS = 1_000_000

Floats = npt.NDArray[np.float64]


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
class RowSums:
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

    def __add__(self, other: RowSums) -> RowSums:
        return RowSums(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def used(self, labeling: DeviceTime[float]) -> Used[float]:
        """What was used, given the device time by kind of device."""
        return Used(labeling, self.decode_s, float(self.bytes_read), float(self.gets))

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
class RunRows:
    """What one run's rows add up to.

    Attributes:
        shared: sums over the shared videos.
        whole: sums over all rows of the run, failed ones included.
        ok: labeled videos of the run.
        ok_ns: their length.
        incomplete: shared videos of which segments failed.
        used: by labeling the shared videos, without the shadow sample.
        shadow: device time of the shadow sample of the shared videos.
        whole_used: by labeling all videos of the run.
        whole_shadow: device time of the shadow sample of all videos.
        per_video: (videos,) used by labeling each shared video.
        attempts: sums of all rows by attempt.
        correct: (videos,) 1 where the label is the ground truth, 0 where not, -1 where the ground
            truth is not given or no class of the model.
    """

    shared: RowSums
    whole: RowSums
    ok: int
    ok_ns: int
    incomplete: int
    used: Used[float]
    shadow: DeviceTime[float]
    whole_used: Used[float]
    whole_shadow: DeviceTime[float]
    per_video: Used[Floats]
    attempts: AttemptRows
    correct: npt.NDArray[np.int8]


def find_shared(runs: Sequence[ComparedRun]) -> Shared:
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


def _reasons(
    runs: Sequence[ComparedRun], every: npt.NDArray[np.int8]
) -> tuple[tuple[str, int], ...]:
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


def _states(run: ComparedRun) -> tuple[pa.Array, npt.NDArray[np.int8]]:
    ids, states = [pa.array([], pa.string())], [np.zeros(0, np.int8)]
    for table in read_tables(run.directory.videos, VIDEOS_SCHEMA, ["video_id", "status"]):
        ids.extend(table["video_id"].chunks)
        ok = np.asarray(pc.equal(table["status"], "ok"))
        states.append(np.where(ok, _OK, _FAILED).astype(np.int8))
    return pa.concat_arrays(ids), np.concatenate(states)


def read_rows(run: ComparedRun, shared: Shared) -> RunRows:
    """Reads videos/ of a run, and from units/ the device time by attempt."""
    count = len(shared.ids)
    columns = {name: np.zeros(count, np.int64) for name in _PER_VIDEO}
    correct = np.full(count, -1, np.int8)
    of_shared = whole = RowSums()
    ok = ok_ns = incomplete = 0
    for table in read_tables(run.directory.videos, VIDEOS_SCHEMA, _COLUMNS):
        numbers = _numbers(table)
        labeled = np.asarray(pc.equal(table["status"], "ok"))
        places = shared.places(table["video_id"])
        chosen = places >= 0
        whole += _sums(numbers, np.ones(len(places), np.bool_))
        of_shared += _sums(numbers, chosen)
        ok += int(labeled.sum())
        ok_ns += exact_sum(numbers["video_ns"][labeled])
        incomplete += int((numbers["units_failed"][chosen] > 0).sum())
        for name, column in columns.items():
            column[places[chosen]] = numbers[name][chosen]
        correct[places[chosen]] = _correct(table)[chosen]
    device = _device_time(run, shared)
    attempts = device.attempts
    return RunRows(
        of_shared,
        whole,
        ok,
        ok_ns,
        incomplete,
        used=of_shared.used(attempts.device_time(device.shared_ns)),
        shadow=attempts.device_time(device.shared_shadow_ns),
        whole_used=whole.used(attempts.device_time(attempts.device_ns)),
        whole_shadow=attempts.device_time(attempts.shadow_ns),
        per_video=Used(
            device.per_video,
            decode_s=columns["decode_ns"] / 1e9,
            bytes_read=columns["bytes_read"].astype(np.float64),
            gets=columns["gets"].astype(np.float64),
        ),
        attempts=attempts,
        correct=correct,
    )


@dataclass(frozen=True)
class _DeviceTimes:
    """Device time from units/: of all rows, and of the shared videos by attempt and by video."""

    attempts: AttemptRows
    shared_ns: Ints
    shared_shadow_ns: Ints
    per_video: DeviceTime[Floats]


def _device_time(run: ComparedRun, shared: Shared) -> _DeviceTimes:
    attempts, count = AttemptRows(run.attempts), len(shared.ids)
    shared_ns, shared_shadow_ns = (np.zeros(len(run.attempts), np.int64) for _ in range(2))
    gpu_s, core_s = np.zeros(count), np.zeros(count)
    gpus = np.array([each.labeler_gpus for each in run.attempts])
    cores = np.array([each.labeler_cpus for each in run.attempts])
    for rows in _in_batches(run):
        number, place = attempts.add(rows), shared.places(rows["video_id"])
        chosen = place >= 0
        number, place = number[chosen], place[chosen]
        device_ns = nanoseconds(rows["device_ms"], 1e6)[chosen]
        np.add.at(shared_ns, number, device_ns)
        np.add.at(shared_shadow_ns, number, nanoseconds(rows["unpruned_device_ms"], 1e6)[chosen])
        gpu_s += np.bincount(place, device_ns / 1e9 * gpus[number], count)
        core_s += np.bincount(place, device_ns / 1e9 * cores[number], count)
    return _DeviceTimes(attempts, shared_ns, shared_shadow_ns, DeviceTime(gpu_s, core_s))


def _in_batches(run: ComparedRun) -> Iterator[pa.Table]:
    """Rows of units/, many files at a time: matching ids takes as long for one row as for many."""
    held: list[pa.Table] = []
    for table in read_tables(run.directory.units, UNITS_SCHEMA, ["video_id", *AttemptRows.COLUMNS]):
        held.append(table.replace_schema_metadata(None))
        if sum(each.num_rows for each in held) >= _ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _numbers(table: pa.Table) -> dict[str, Ints]:
    """(rows,) integers of each kind that is added up."""
    in_storage = np.asarray(pc.match_substring_regex(table["uri"], IN_STORAGE))
    units = filled(table["units"]).astype(np.int64)
    return {
        "views": filled(table["num_views"]).astype(np.int64),
        "flops": filled(table["flops"]),
        "device_ns": nanoseconds(table["device_ms"], 1e6),
        "decode_ns": nanoseconds(table["decode_ms"], 1e6),
        "bytes_read": filled(table["bytes_read"]),
        "gets": np.where(in_storage, units, 0),
        "video_ns": nanoseconds(table["duration_s"], 1e9),
        "unpruned_flops": filled(table["unpruned_flops"]),
        "unpruned_device_ns": nanoseconds(table["unpruned_device_ms"], 1e6),
        "units_failed": filled(table["units_failed"]).astype(np.int64),
    }


def _sums(numbers: dict[str, Ints], chosen: npt.NDArray[np.bool_]) -> RowSums:
    names = [name for name in vars(RowSums()) if name != "videos"]
    sums = {name: exact_sum(numbers[name][chosen]) for name in names}
    return RowSums(videos=int(chosen.sum()), **sums)


def _correct(table: pa.Table) -> npt.NDArray[np.int8]:
    same = pc.equal(table["ground_truth"], table["label"]).cast(pa.int8())
    judged = pc.if_else(pc.is_valid(table["ground_truth_id"]), same, -1)
    return np.asarray(pc.fill_null(judged, -1)).astype(np.int8)


def _places(ids: pa.Array | pa.ChunkedArray, known: pa.Array) -> Ints:
    found = pc.fill_null(pc.index_in(ids, value_set=known), -1)
    return np.asarray(found).astype(np.int64)
