"""Small runs with tables, made row by row, for tests of what reads them."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

BEGAN = datetime.datetime(2026, 11, 24, 22, 0, tzinfo=datetime.UTC)

STAGES = {
    "decode": {"actors": 3, "units": 4, "busy_s": 9.0},
    "label": {"actors": 1, "units": 4, "busy_s": 5.0},
    "decoders_busy": 0.25,
    "labelers_busy": 0.98,
    "bottleneck": "labeling; more GPUs make it faster.",
}

STRETCH_S = 32.0


def at(seconds: float) -> datetime.datetime:
    """A time of a run, so many seconds after it began."""
    return BEGAN + datetime.timedelta(seconds=seconds)


def attempt(began: float, ended: float | None, *, gpus: float = 0.0) -> dict[str, Any]:
    """An entry of run.json's `attempts`; times are seconds after the run began."""
    return {
        "began": at(began).isoformat(timespec="milliseconds"),
        "ended": None if ended is None else at(ended).isoformat(timespec="milliseconds"),
        "decoders": 3,
        "decoder_cpus": 1.0,
        "labelers": 1,
        "labeler_cpus": 0.0 if gpus else 2.0,
        "labeler_gpus": gpus,
        "devices": ["a GPU" if gpus else "cpu: 2 threads of a CPU"],
        "cpus": 8.0,
        "gpus": gpus,
        "nodes": 1,
    }


def shadowed(row: dict[str, Any], label_id: int, *, view_ids: list[int] | None = None) -> Any:
    """The row of an ok unit that was labeled unpruned too, as `label_id`."""
    ids = view_ids or [label_id] * len(row["views"])
    views = [
        view | {"unpruned_label_id": each} for view, each in zip(row["views"], ids, strict=True)
    ]
    shadow = {
        "unpruned_label": "ab"[label_id],
        "unpruned_label_id": label_id,
        "unpruned_score": 0.9,
        "unpruned_top_ids": [label_id],
        "unpruned_top_scores": [0.9],
        "unpruned_scores": [0.5, 0.5],
        "unpruned_flops": 40,
        "unpruned_device_ms": 3.0,
    }
    return row | shadow | {"views": views}


def segment(row: dict[str, Any], number: int) -> dict[str, Any]:
    """A row of a whole video made segment `number` of a recording; the last one comes last."""
    begin, end = number * STRETCH_S, (number + 1) * STRETCH_S
    made = {"unit_id": unit_id(row["video_id"], begin, end), "start_s": begin, "end_s": end}
    return row | made


def made_run(
    folder: Path,
    *files: list[dict[str, Any]],
    every_s: float | None = None,
    shadow: float | None = None,
    stages: Any = STAGES,
    **more: Any,
) -> RunDirectory:
    """A run whose units/ holds these rows, file by file, with its tables and totals.

    `shadow`: the share of the shadow sample. `more`: further entries of run.json, in place of
    those that are made up here.
    """
    run = RunDirectory(Location.of(str(folder)))
    rows = [row for file in files for row in file]
    _write_manifest(run, rows, every_s)
    content = {
        "created": BEGAN.isoformat(),
        "identity": {
            "input": "/archive",
            "pruning": {"r": 1, "score": "sta", "grouping": "released"},
            "protocol": {"name": "videomae-k400", "clips": 1, "crops": 1, "every_s": every_s},
        },
        "model": {
            "architecture": "vit_demo",
            "checkpoint": "demo",
            "labels": ["a", "b"],
            "kept_grids": [[1, 1, 2]],
            "flops_per_view": 10,
            "flops_per_view_unpruned": 20,
            "flops_vary_by_clip": False,
        },
        "environment": {"code": "0123456789ab"},
    }
    if shadow is not None:
        content["identity"]["shadow_share"] = shadow
    run.save(run_record(content | more))
    Path(run.units.uri).mkdir()
    for number, file in enumerate(files):
        table = pa.Table.from_pylist(file, schema=UNITS_SCHEMA)
        pq.write_table(table, f"{run.units.uri}/x_{number:06d}-0.parquet")
    totals = dataclasses.asdict(build_tables(run))
    run.save(run_record(run.load().to_json() | {"totals": totals | {"stages": stages}}))
    return run


def _write_manifest(run: RunDirectory, rows: list[dict[str, Any]], every_s: float | None) -> None:
    ends: dict[str, float | None] = {row["video_id"]: row.get("end_s") for row in rows}
    videos = (Video(name, f"/x/{name}", duration_s=end) for name, end in ends.items())
    write_manifest(videos, run.manifest, unit_s=None if every_s is None else STRETCH_S)
