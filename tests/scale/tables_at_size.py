"""Time and memory of the steps that read all units of a run: reconcile, tables, verify, report.

    python -m tests.scale.tables_at_size --units 1000000

Makes units of one row each as the graph writes them (5x3 views with kept maps), and the checkpoints
that confirm them, and then runs each step in a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.reports.run import write_run_report
from pipeline.run.commits import committed, reconcile
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from pipeline.verify.verify import report, verify
from tests.pipeline.run.test_tables import ok
from tests.run_records import run_record
from tests.scale.peak_memory import peak_mib
from workers.inference.labeler import pack_mask
from workers.sampling import Protocol
from workers.schema import UNITS_SCHEMA

_ROWS_PER_FILE = 500
_GRIDS = ((8, 14, 14),) * 3


def make_run(folder: Path, units: int, views: int) -> None:
    """A run directory as it is when the graph has ended."""
    run = RunDirectory(Location.of(str(folder)))
    names = [f"2026/11/24/video-{number:09d}.mp4" for number in range(units)]
    write_manifest((Video(name, f"/archive/{name}") for name in names), run.manifest)
    template = _template(views)
    for number, start in enumerate(range(0, units, _ROWS_PER_FILE)):
        part = names[start : start + _ROWS_PER_FILE]
        table = template.slice(0, len(part))
        for column, values in {
            "unit_id": [unit_id(name) for name in part],
            "video_id": part,
            "uri": [f"/archive/{name}" for name in part],
            "labeled_at": [1000 * number] * len(part),
        }.items():
            place = table.schema.get_field_index(column)
            field = table.schema.field(place)
            table = table.set_column(place, field, pa.array(values, field.type))
        Path(run.units.uri).mkdir(exist_ok=True)
        Path(run.checkpoint.uri).mkdir(exist_ok=True)
        pq.write_table(table, f"{run.units.uri}/x_{number:06d}-0.parquet")
        ids = table.select(["unit_id"]).replace_schema_metadata(None)
        pq.write_table(ids, f"{run.checkpoint.uri}/x_{number:06d}.parquet")
    run.save(
        run_record(
            {
                "identity": {
                    "model": "sha256:0",
                    "pruning": {"r": 64},
                    "protocol": dataclasses.asdict(Protocol("videomae-k400", views, 1)),
                    "decoder": "pyav",
                    "precision": "float32",
                },
                "model": {
                    "architecture": "vit_base",
                    "checkpoint": "none",
                    "kept_grids": _GRIDS,
                    "labels": ["a"],
                    "flops_per_view": 96 * 10**9,
                    "flops_vary_by_clip": False,
                },
            }
        )
    )


def _template(views: int) -> pa.Table:
    draw = np.random.default_rng(0)
    masks = [draw.random(grid) < 0.5 for grid in _GRIDS]
    row = ok("x", flops=96 * 10**9, views=views)
    for number, view in enumerate(row["views"]):
        view |= {
            "clip": number,
            "crop": 0,
            "kept_token_maps": [pack_mask(mask) for mask in masks],
            "tokens_kept": [int(mask.sum()) for mask in masks],
        }
    return pa.Table.from_pylist([row] * _ROWS_PER_FILE, schema=UNITS_SCHEMA)


def _reconcile(run: RunDirectory) -> str:
    return reconcile(run).line() or "in order"


def _committed(run: RunDirectory) -> str:
    return f"{committed(run).units:,} units"


def _tables(run: RunDirectory) -> str:
    totals = build_tables(run)
    run.save(run_record(run.load().to_json() | {"totals": vars(totals)}))
    return f"{totals.clips:,} views, {totals.flops:.4g} FLOPs"


def _verify(run: RunDirectory) -> str:
    return report(verify(run)).splitlines()[-1]


def _report(run: RunDirectory) -> str:
    write_run_report(run)
    return f"{len(run.root.child('report.html').read_bytes()) / 1e3:.0f} kB"


def _measured(step: Callable[[RunDirectory], str], folder: Path) -> None:
    began = time.monotonic()
    said = step(RunDirectory(Location.of(str(folder))))
    print(
        f"{step.__name__.strip('_'):<10} {time.monotonic() - began:7.1f} s  "
        f"{peak_mib():7.0f} MiB at most  {said}",
        flush=True,
    )


def main() -> int:
    """Prints a line per step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--views", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        make_run(folder, arguments.units, arguments.views)
        for step in (_reconcile, _committed, _tables, _verify, _report):
            process = get_context("spawn").Process(target=_measured, args=(step, folder))
            process.start()
            process.join()
            if process.exitcode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
