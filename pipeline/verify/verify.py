"""Checks of a finished run: every unit has one row, and all tables agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.run_tables import RunTables, sum_by
from pipeline.run.segments import has_failed
from pipeline.run.sums import exact_sum
from pipeline.storage.parquet_files import parquet_file
from pipeline.verify.early_exit import check_early_exit
from sta.text import displayed
from workers.failures import ErrorType
from workers.inference.unpruned_sample import in_sample
from workers.sampling import Protocol

_NAMED = 3


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        what: what must hold, in a few words.
        problem: what contradicts it, None if it holds.
    """

    what: str
    problem: str | None = None


def verify(run: RunDirectory) -> list[Check]:
    """Checks a run that has its tables.

    Raises:
        UsageError: there is no run here.
    """
    run.check_labels()
    record = run.load()
    tables = RunTables(run)
    checks: list[Check] = []

    def check(what: str, find: Callable[[], str | None]) -> None:
        try:
            problem = find()
            checks.append(Check(what, problem and displayed(problem)))
        except (OSError, pa.ArrowException) as error:
            checks.append(Check(what, displayed(str(error).splitlines()[0])))

    check("manifest: declared schema, unique ids", lambda: _manifest(tables, record))
    check("units: declared schema, one row per unit of the manifest", lambda: _units(tables))
    check(
        "units: ok with a label, or failed with an error type and a message",
        lambda: _outcomes(tables),
    )
    check("checkpoint: lists the units of units/, and no others", lambda: _checkpoint(run, tables))
    check(
        "videos: declared schema, one row per video, status agrees with its units",
        lambda: _videos(tables),
    )
    check(
        "clips: declared schema, one row per view of each labeled unit",
        lambda: _clips(tables, record),
    )
    if record.identity.early_exit is not None:
        check(
            "views: evaluated in order, up to the first that met the early-exit threshold",
            lambda: check_early_exit(run, tables, record),
        )
    check(
        "clips: kept_token_maps show as many tokens as tokens_kept says",
        lambda: _maps(tables, record),
    )
    check(
        "shadow sample: its units, and no others, have an unpruned label and its FLOPs",
        lambda: _shadow(tables, record),
    )
    check("FLOPs: units/, clips/ and videos/ have the same sums", lambda: _flops(tables))
    check("run.json: totals agree with the tables", lambda: _totals(tables, record))
    return checks


def _such(names: pa.Array | pa.ChunkedArray) -> str:
    return f", such as {', '.join(map(str, names[:_NAMED].to_pylist()))}"


def _repeated(ids: pa.ChunkedArray, what: str) -> str | None:
    counts = ids.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    return f"{len(repeated)} {what} occur more than once{_such(repeated)}" if repeated else None


def _manifest(tables: RunTables, record: RunRecord) -> str | None:
    ids = tables.manifest["unit_id"]
    if not len(ids):
        return None if record.has_nothing_new else "it has no rows"
    return _repeated(ids, "units")


def _units(tables: RunTables) -> str | None:
    written, expected = tables.units["unit_id"], tables.manifest["unit_id"]
    missing = expected.filter(pc.invert(pc.is_in(expected, value_set=written)))
    if len(missing):
        return f"{len(missing)} units have no row{_such(missing)}"
    foreign = written.filter(pa.array(tables.unit_rows < 0))
    if len(foreign):
        return f"{len(foreign)} units are not in the manifest{_such(foreign)}"
    return _repeated(written, "units")


def _outcomes(tables: RunTables) -> str | None:
    units = tables.units
    reasons = pa.array([str(each) for each in ErrorType if each is not ErrorType.deferred])
    labeled = pc.and_(pc.equal(units["status"], "ok"), pc.is_valid(units["label"]))
    known = pc.is_in(units["error_type"], value_set=reasons)
    said = pc.fill_null(pc.greater(pc.utf8_length(units["error"]), 0), False)
    failed = pc.and_(pc.equal(units["status"], "failed"), pc.and_(known, said))
    neither = pc.invert(pc.fill_null(pc.or_(labeled, failed), False))
    wrong = units["unit_id"].filter(neither)
    return (
        f"{len(wrong)} units are neither ok nor failed in this way{_such(wrong)}"
        if len(wrong)
        else None
    )


def _checkpoint(run: RunDirectory, tables: RunTables) -> str | None:
    parts = [pa.chunked_array([], pa.string())]
    for file in run.checkpoint.files(".parquet"):
        if not file.uri.endswith(".pending.parquet"):
            with parquet_file(file) as opened:
                parts.append(opened.read(columns=["unit_id"])["unit_id"])
    confirmed = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
    written = tables.units["unit_id"]
    one, other = pc.unique(confirmed), pc.unique(written)
    if len(one) != len(other) or not pc.all(pc.is_in(one, value_set=other), min_count=0).as_py():
        return f"it lists {len(one)} units, but units/ has {len(other)}"
    return None


def _videos(tables: RunTables) -> str | None:
    videos, rows = tables.videos, tables.video_rows
    count = len(tables.video_ids)
    missing = np.setdiff1d(np.arange(count), rows)
    if len(missing):
        return f"{len(missing)} videos have no row{_such(tables.video_ids.take(missing))}"
    foreign = videos["video_id"].filter(pa.array(rows < 0))
    if len(foreign):
        return f"{len(foreign)} videos are not in the manifest{_such(foreign)}"
    repeated = _repeated(videos["video_id"], "videos")
    if repeated:
        return repeated
    units, failed = _units_by_video(tables)
    states = np.where(has_failed(units, failed), "failed", "ok")[rows]
    said = np.asarray(videos["status"]).astype(str)
    counted = np.asarray(pc.fill_null(videos["units"], -1)), np.asarray(videos["units_failed"])
    wrong = (states != said) | (counted[0] != units[rows]) | (counted[1] != failed[rows])
    names = videos["video_id"].filter(pa.array(wrong))
    if len(names):
        return f"{len(names)} videos have a status that disagrees with their units{_such(names)}"
    return None


def _units_by_video(tables: RunTables) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(videos,) numbers of units and of failed units, by units/."""
    rows = tables.unit_rows
    videos = np.where(rows >= 0, tables.video_of_unit[rows], -1)
    failed = np.asarray(pc.equal(tables.units["status"], "failed")).astype(np.int64)
    count = len(tables.video_ids)
    return sum_by(videos, np.ones(len(videos), np.int64), count), sum_by(videos, failed, count)


def _clips(tables: RunTables, record: RunRecord) -> str | None:
    protocol = record.identity.protocol
    unit, clip, crop, *_ = tables.clips
    if (unit < 0).any():
        return f"{int((unit < 0).sum())} views are of units that are not in the manifest"
    if (crop < 0).any() or (crop >= protocol.crops).any() or (clip < 0).any():
        return "a view has a clip or crop number outside the protocol"
    order = np.lexsort((crop, clip, unit))
    same = np.ones(max(len(unit) - 1, 0), dtype=np.bool_)
    for numbers in (unit, clip, crop):
        same &= np.diff(numbers[order]) == 0
    if same.any():
        return f"{int(same.sum())} views occur twice"
    found = np.bincount(unit, minlength=len(tables.manifest))
    expected = sum_by(tables.unit_rows, np.asarray(tables.units["views"]), len(tables.manifest))
    wrong = (found != expected) | ~_allowed(tables, record.identity, expected)
    names = tables.manifest["unit_id"].filter(pa.array(wrong))
    if len(names):
        return f"{len(names)} units have other views than the protocol requires{_such(names)}"
    return _outside(tables, protocol, unit, clip)


def _allowed(
    tables: RunTables, identity: Identity, views: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """(units,) whether a unit of this state may have so many views."""
    protocol = identity.protocol
    ok = np.zeros(len(tables.manifest), dtype=np.bool_)
    rows = tables.unit_rows
    ok[rows[rows >= 0]] = np.asarray(pc.equal(tables.units["status"], "ok"))[rows >= 0]
    most = protocol.views
    if identity.early_exit is not None or (identity.relabeled and protocol.every_s is None):
        return np.asarray(np.where(ok, (views > 0) & (views <= most), views == 0))
    if protocol.every_s is None:
        return np.asarray(views == np.where(ok, most, 0))
    # A recording may have grown since it was measured: its last unit goes to its end.
    endless = np.asarray(pc.is_null(tables.manifest["end_s"]))
    some = (views > 0) & (views % protocol.crops == 0) & (endless | (views <= most))
    return np.asarray(np.where(ok, some, views == 0))


def _outside(
    tables: RunTables,
    protocol: Protocol,
    unit: npt.NDArray[np.int64],
    clip: npt.NDArray[np.int64],
) -> str | None:
    """Whether a clip of dense labeling starts outside its segment."""
    if protocol.every_s is None:
        return None
    starts = clip * protocol.every_s
    first = np.asarray(pc.fill_null(tables.manifest["start_s"], 0.0))[unit]
    last = np.asarray(pc.fill_null(tables.manifest["end_s"], np.inf))[unit]
    slack = 1e-3 * protocol.every_s
    outside = (starts < first - slack) | (starts > last - protocol.every_s + slack)
    names = tables.manifest["unit_id"].take(np.unique(unit[outside]))
    return (
        f"clips of {len(names)} units lie outside their units{_such(names)}" if len(names) else None
    )


def _maps(tables: RunTables, record: RunRecord) -> str | None:
    model = record.model
    for table in tables.kept_token_maps():
        other = pc.any(pc.not_equal(table["flops"], model.flops_per_view)).as_py()
        if other and not model.flops_vary_by_clip:
            return f"a view has other FLOPs than the {model.flops_per_view} of this run"
        maps = table["kept_token_maps"].combine_chunks()
        kept = table["tokens_kept"].combine_chunks()
        if not pc.list_value_length(maps).equals(pc.list_value_length(kept)):
            return "a view has other numbers of maps and of pruning stages"
        shown = _bits(pc.list_flatten(maps))
        wrong = np.flatnonzero(shown != np.asarray(pc.list_flatten(kept)))
        if len(wrong):
            view = pc.list_parent_indices(maps)[int(wrong[0])].as_py()
            name, said = table["video_id"][view].as_py(), kept[view].as_py()
            return f"{name} kept {said} and its maps show {_bits(maps[view].values).tolist()}"
    return None


def _bits(packed: pa.BinaryArray) -> npt.NDArray[np.int64]:
    """Bits that are set in each binary value."""
    _, offsets, data = packed.buffers()
    if data is None:
        return np.zeros(len(packed), np.int64)
    ends = np.frombuffer(offsets, np.int32)[packed.offset : packed.offset + len(packed) + 1]
    counts = np.bitwise_count(np.frombuffer(data, np.uint8)[ends[0] : ends[-1]])
    sums = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return np.asarray(np.diff(sums[ends - ends[0]]))


def _shadow(tables: RunTables, record: RunRecord) -> str | None:
    """Whether units outside the sample were labeled, or some within were not."""
    share, units = record.identity.shadow_share, tables.units
    labeled = np.asarray(pc.is_valid(units["unpruned_label_id"]))
    chosen = np.asarray(pc.equal(units["status"], "ok"))
    within = [in_sample(unit_id, share) for unit_id in units["unit_id"].to_pylist()]
    chosen = chosen & np.array(within, dtype=np.bool_)
    names = units["unit_id"].filter(pa.array(labeled != chosen))
    if len(names):
        return (
            f"{len(names)} units are in the shadow sample but have no unpruned label, or the "
            f"reverse{_such(names)}"
        )
    dense = record.model.flops_per_view_unpruned
    cost = pc.fill_null(units["unpruned_flops"], 0).to_numpy()
    evaluated = np.where(labeled, np.asarray(units["views"], np.int64), 0)
    # Early exit saves views of the pruned model, not of the unpruned one.
    protocol = record.identity.protocol
    every = np.where(labeled, protocol.views, 0)
    views = every if record.identity.early_exit is not None else evaluated
    names = units["unit_id"].filter(pa.array(cost != views * dense))
    if len(names):
        return f"{len(names)} units have other unpruned_flops than the unpruned model{_such(names)}"
    return _shadow_elsewhere(tables, evaluated, cost)


def _shadow_elsewhere(
    tables: RunTables, views: npt.NDArray[np.int64], cost: npt.NDArray[np.int64]
) -> str | None:
    """Whether clips/ and videos/ tell another sample than units/: (units,) its views and FLOPs."""
    manifest, rows = tables.manifest, tables.unit_rows
    unit, *_, shadowed = tables.clips
    told = np.bincount(unit[shadowed & (unit >= 0)], minlength=len(manifest))
    names = manifest["unit_id"].filter(pa.array(told != sum_by(rows, views, len(manifest))))
    if len(names):
        return (
            f"{len(names)} units have other unpruned views in clips/ than in units/{_such(names)}"
        )
    count = len(tables.video_ids)
    in_units = sum_by(np.where(rows >= 0, tables.video_of_unit[rows], -1), cost, count)
    said = np.asarray(pc.fill_null(tables.videos["unpruned_flops"], 0))
    names = tables.video_ids.filter(pa.array(in_units != sum_by(tables.video_rows, said, count)))
    return (
        f"{len(names)} videos have other unpruned_flops than their units{_such(names)}"
        if len(names)
        else None
    )


def _flops(tables: RunTables) -> str | None:
    count = len(tables.video_ids)
    unit, _, _, flops, _ = tables.clips
    rows = tables.unit_rows
    videos = np.where(rows >= 0, tables.video_of_unit[rows], -1)
    in_units = sum_by(videos, np.asarray(pc.fill_null(tables.units["flops"], 0)), count)
    in_clips = sum_by(np.where(unit >= 0, tables.video_of_unit[unit], -1), flops, count)
    said = np.asarray(pc.fill_null(tables.videos["flops"], 0))
    in_videos = sum_by(tables.video_rows, said, count)
    wrong = np.flatnonzero((in_units != in_clips) | (in_units != in_videos))
    if len(wrong):
        first = int(wrong[0])
        return (
            f"{tables.video_ids[first]}: {in_units[first]} in units, {in_clips[first]} in "
            f"clips, {in_videos[first]} in videos"
        )
    return None if (unit >= 0).all() else "clips of unknown videos"


def _totals(tables: RunTables, record: RunRecord) -> str | None:
    totals = record.totals
    if totals is None:
        return "there are none: the run is not finished"
    states = Counter(tables.videos["status"].to_pylist())
    units = tables.units
    same = pc.equal(units["label_id"], units["unpruned_label_id"])
    found = {
        "videos": len(pc.unique(tables.videos["video_id"])),
        "ok": states["ok"],
        "flops": exact_sum(np.asarray(pc.fill_null(tables.videos["flops"], 0))),
        "unpruned_units": pc.count(units["unpruned_label_id"]).as_py(),
        "unpruned_agreeing": pc.sum(same, min_count=0).as_py(),
        "unpruned_flops": exact_sum(np.asarray(pc.fill_null(units["unpruned_flops"], 0))),
    }
    said = {name: getattr(totals, name) for name in found}
    return None if found == said else f"it says {json.dumps(said)}, the tables {json.dumps(found)}"


def report(checks: list[Check]) -> str:
    """One line per check, and the result."""
    lines = [
        f"{'ok  ' if check.problem is None else 'FAIL'}  {check.what}"
        + (f": {check.problem}" if check.problem else "")
        for check in checks
    ]
    wrong = sum(check.problem is not None for check in checks)
    passed = "Verified: all checks passed."
    lines.append(f"{wrong} of {len(checks)} checks failed" if wrong else passed)
    if wrong:
        lines.append(
            "To repair the run, delete OUTPUT/_SUCCESS if it exists, and run the labeling command "
            "again."
        )
    return "\n".join(lines)
