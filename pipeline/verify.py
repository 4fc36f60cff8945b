"""Proof that a run is whole: every unit once, every table in agreement with the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.manifest import MANIFEST_SCHEMA
from pipeline.run_directory import RunDirectory
from pipeline.storage import Location
from pipeline.tables import CLIPS_SCHEMA, VIDEOS_SCHEMA
from workers.failures import ErrorType
from workers.schema import UNITS_SCHEMA

_NAMED = 3


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        what: the promise, in a few words.
        problem: what contradicts it, None if it holds.
    """

    what: str
    problem: str | None = None


@dataclass
class _Sums:
    """What one table says of each video: rows, FLOPs and state."""

    rows: Counter[str] = field(default_factory=Counter)
    flops: Counter[str] = field(default_factory=Counter)
    status: dict[str, str] = field(default_factory=dict)


def verify(run: RunDirectory) -> list[Check]:
    """Checks a run that has its tables.

    Raises:
        UsageError: there is no run here.
    """
    if not run.exists():
        raise UsageError(f"there is no run in {run.root.uri}: it has no run.json")
    content = run.load()
    checks: list[Check] = []

    def check(what: str, look: Callable[[], str | None]) -> None:
        try:
            checks.append(Check(what, look()))
        except (OSError, pa.ArrowException) as error:
            checks.append(Check(what, str(error).splitlines()[0]))

    check("manifest: readable, as declared, ids unique", lambda: _manifest(run))
    check("units: as declared, every unit of the manifest exactly once", lambda: _units(run))
    check("units: ok with labels, or failed with a reason of the list", lambda: _outcomes(run))
    check("checkpoint: names exactly the units that are written", lambda: _checkpoint(run))
    check("videos: as declared, one row per video, in the state of its unit", lambda: _videos(run))
    check("clips: as declared, all views of every labelled video", lambda: _clips(run, content))
    check("clips: bits in the kept maps are the tokens kept", lambda: _maps(run, content))
    check("FLOPs: units, clips and videos add up to the same", lambda: _flops(run))
    check("run.json: totals are those of the tables", lambda: _totals(run, content))
    return checks


def _tables(
    folder: Location, schema: pa.Schema, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """The tables of a folder, file by file; a file of another schema raises."""
    for file in folder.files(".parquet"):
        filesystem, path = file.filesystem()
        with pq.ParquetFile(path, filesystem=filesystem) as opened:
            if not opened.schema_arrow.equals(schema):
                raise pa.ArrowInvalid(f"{file.uri} has other columns than declared")
            yield opened.read(columns=columns)


def _ids(folder: Location, schema: pa.Schema) -> Counter[str]:
    counts: Counter[str] = Counter()
    for table in _tables(folder, schema, ["unit_id"]):
        counts.update(table["unit_id"].to_pylist())
    return counts


def _repeated(counts: Counter[str], what: str) -> str | None:
    repeated = [name for name, count in counts.items() if count > 1]
    return f"{len(repeated)} {what} stand more than once{_such(repeated)}" if repeated else None


def _such(names: list[str]) -> str:
    return f", such as {', '.join(names[:_NAMED])}"


def _manifest(run: RunDirectory) -> str | None:
    ids = _ids(run.manifest, MANIFEST_SCHEMA)
    return _repeated(ids, "units") if ids else "it has no rows"


def _units(run: RunDirectory) -> str | None:
    expected, written = _ids(run.manifest, MANIFEST_SCHEMA), _ids(run.units, UNITS_SCHEMA)
    missing, foreign = list(expected - written), [i for i in written if i not in expected]
    if missing:
        return f"{len(missing)} units have no row{_such(missing)}"
    if foreign:
        return f"{len(foreign)} units are not of this manifest{_such(foreign)}"
    return _repeated(written, "units")


def _outcomes(run: RunDirectory) -> str | None:
    wrong: list[str] = []
    reasons = {str(reason) for reason in ErrorType}
    columns = ["unit_id", "status", "error_type", "error", "label"]
    for table in _tables(run.units, UNITS_SCHEMA, columns):
        for row in table.to_pylist():
            labelled = row["status"] == "ok" and row["label"] is not None
            failed = row["status"] == "failed" and row["error_type"] in reasons and row["error"]
            if not (labelled or failed):
                wrong.append(row["unit_id"])
    return f"{len(wrong)} units are neither{_such(wrong)}" if wrong else None


def _checkpoint(run: RunDirectory) -> str | None:
    confirmed: Counter[str] = Counter()
    for file in run.checkpoint.files(".parquet"):
        filesystem, path = file.filesystem()
        if path.endswith(".pending.parquet"):
            continue
        ids = pq.ParquetFile(path, filesystem=filesystem).read(columns=["unit_id"])
        confirmed.update(ids["unit_id"].to_pylist())
    written = _ids(run.units, UNITS_SCHEMA)
    if confirmed.keys() != written.keys():
        return f"it names {len(confirmed)} units and {len(written)} are written"
    return None


def _by_video(folder: Location, schema: pa.Schema, *, status: bool) -> _Sums:
    sums = _Sums()
    columns = ["video_id", "flops", *(["status"] if status else [])]
    for table in _tables(folder, schema, columns):
        sums.rows.update(table["video_id"].to_pylist())
        for row in table.group_by("video_id").aggregate([("flops", "sum")]).to_pylist():
            sums.flops[row["video_id"]] += row["flops_sum"] or 0
        if status:
            names, states = table["video_id"].to_pylist(), table["status"].to_pylist()
            sums.status.update(zip(names, states, strict=True))
    return sums


def _videos(run: RunDirectory) -> str | None:
    expected: set[str] = set()
    for table in _tables(run.manifest, MANIFEST_SCHEMA, ["video_id"]):
        expected.update(table["video_id"].to_pylist())
    videos = _by_video(run.videos, VIDEOS_SCHEMA, status=True)
    units = _by_video(run.units, UNITS_SCHEMA, status=True)
    if videos.rows.keys() != expected:
        differing = sorted(videos.rows.keys() ^ expected)
        return f"{len(differing)} videos are in one of manifest and table only{_such(differing)}"
    if videos.status != units.status:
        differing = [n for n, state in videos.status.items() if units.status.get(n) != state]
        return f"{len(differing)} videos are in another state than their unit{_such(differing)}"
    return _repeated(videos.rows, "videos")


def _clips(run: RunDirectory, content: dict[str, Any]) -> str | None:
    protocol = content["identity"]["protocol"]
    views = protocol["clips"] * protocol["crops"]
    seen: Counter[tuple[str, int, int]] = Counter()
    for table in _tables(run.clips, CLIPS_SCHEMA, ["unit_id", "clip", "crop"]):
        seen.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if len(seen) != sum(seen.values()):
        return "a view stands twice"
    counts = Counter(unit for unit, _, _ in seen)
    labelled: set[str] = set()
    for table in _tables(run.units, UNITS_SCHEMA, ["unit_id", "status"]):
        ok = table.filter(pc.equal(table["status"], "ok"))
        labelled.update(ok["unit_id"].to_pylist())
    wrong = sorted(labelled ^ counts.keys() | {u for u, n in counts.items() if n != views})
    return f"{len(wrong)} units have not {views} views{_such(wrong)}" if wrong else None


def _maps(run: RunDirectory, content: dict[str, Any]) -> str | None:
    model = content["model"]
    for table in _tables(run.clips, CLIPS_SCHEMA):
        other = pc.any(pc.not_equal(table["flops"], model["flops_per_view"])).as_py()
        if other and not model["flops_follow_clip"]:
            return f"a view did not cost the {model['flops_per_view']} FLOPs of this run"
        for row in table.select(["video_id", "tokens_kept", "kept_maps"]).to_pylist():
            bits = [
                int(np.unpackbits(np.frombuffer(packed, np.uint8)).sum())
                for packed in row["kept_maps"]
            ]
            if bits != row["tokens_kept"]:
                return f"{row['video_id']} kept {row['tokens_kept']} and its maps show {bits}"
    return None


def _flops(run: RunDirectory) -> str | None:
    units = _by_video(run.units, UNITS_SCHEMA, status=False).flops
    clips = _by_video(run.clips, CLIPS_SCHEMA, status=False).flops
    videos = _by_video(run.videos, VIDEOS_SCHEMA, status=False).flops
    for name, flops in videos.items():
        if not flops == clips[name] == units[name]:
            return f"{name}: {units[name]} in units, {clips[name]} in clips, {flops} in videos"
    return None if sum(videos.values()) == sum(clips.values()) else "clips of unknown videos"


def _totals(run: RunDirectory, content: dict[str, Any]) -> str | None:
    totals = content.get("totals")
    if totals is None:
        return "there are none: the run is not finished"
    videos = _by_video(run.videos, VIDEOS_SCHEMA, status=True)
    found = {
        "videos": len(videos.rows),
        "ok": sum(state == "ok" for state in videos.status.values()),
        "flops": sum(videos.flops.values()),
    }
    said = {name: totals[name] for name in found}
    return None if found == said else f"it says {json.dumps(said)}, the tables {json.dumps(found)}"


def report(checks: list[Check]) -> str:
    """One line per check, and a verdict."""
    lines = [
        f"{'ok  ' if check.problem is None else 'FAIL'}  {check.what}"
        + (f": {check.problem}" if check.problem else "")
        for check in checks
    ]
    wrong = sum(check.problem is not None for check in checks)
    lines.append(f"{wrong} of {len(checks)} checks failed" if wrong else "The run is whole.")
    return "\n".join(lines)
