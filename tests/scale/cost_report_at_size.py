"""Time and memory of the cost report of two runs that do not fit in memory.

    python -m tests.scale.cost_report_at_size --units 1000000

Writes the tables of two runs over the same videos, with scores of 400 classes, their units in
another order in each; then compares the runs in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.manifest import unit_id
from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.writing import screen, write
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import VIDEOS_SCHEMA
from pipeline.storage.location import Location
from tests.pipeline.synthetic_runs import PRICES, attempt
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

_CLASSES = 400
_UNITS_PER_FILE = 2_000
_VIDEOS_PER_FILE = 500_000


def make_run(folder: Path, units: int, r: int) -> str:
    """A finished run of whole videos, without clips, as the report reads it."""
    run = RunDirectory(Location.of(str(folder)))
    for place in (run.units, run.videos):
        Path(place.uri).mkdir(parents=True)
    order = np.random.default_rng(r).permutation(units)
    for number, first in enumerate(range(0, units, _UNITS_PER_FILE)):
        rows = _units(order[first : first + _UNITS_PER_FILE], r)
        _write(f"{run.units.uri}/x_{number:06d}-0.parquet", rows, UNITS_SCHEMA)
    for number, first in enumerate(range(0, units, _VIDEOS_PER_FILE)):
        rows = _columns(order[first : first + _VIDEOS_PER_FILE], r)
        _write(f"{run.videos.uri}/part-{number:05d}.parquet", rows, VIDEOS_SCHEMA)
    run.save(
        run_record(
            {
                "identity": {
                    "labels": "x",
                    "pruning": {"r": r},
                    "protocol": {
                        "name": "videomae-k400",
                        "clips": 5,
                        "crops": 3,
                        "every_s": None,
                    },
                },
                "model": {
                    "architecture": "vit_base",
                    "labels": [str(n) for n in range(_CLASSES)],
                },
                "prices": PRICES,
                "attempts": [attempt(0, 3600)],
            }
        )
    )
    run.success.write_bytes(b"")
    return str(folder)


def _columns(numbers: np.ndarray, r: int) -> dict[str, object]:
    count = len(numbers)
    draw = np.random.default_rng(int(numbers[0]) + r)
    return {
        "video_id": [f"2026/11/24/video-{number:09d}.mp4" for number in numbers],
        "uri": [f"s3://archive/2026/11/24/video-{number:09d}.mp4" for number in numbers],
        "status": ["ok"] * count,
        "label": [f"{number % _CLASSES}" for number in numbers],
        "ground_truth": [f"{number % _CLASSES}" for number in numbers],
        "clips": [15] * count,
        "flops": np.full(count, 15 * (180 if r == 0 else 96) * 10**9),
        "device_ms": draw.random(count) * (40 if r == 0 else 22),
        "decode_ms": draw.random(count) * 100,
        "bytes_read": draw.integers(10**6, size=count),
        "duration_s": draw.random(count) * 20,
        "units": [1] * count,
        "units_failed": [0] * count,
    }


def _units(numbers: np.ndarray, r: int) -> dict[str, object]:
    rows = _columns(numbers, r)
    logits = np.random.default_rng(int(numbers[0])).normal(size=(len(numbers), _CLASSES))
    scores = np.exp(2 * logits)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    top = np.argpartition(-scores, 5)[:, :5].astype(np.int32)
    return rows | {
        "unit_id": [unit_id(name) for name in rows["video_id"]],  # type: ignore[attr-defined]
        "label_id": top[:, 0],
        "score": scores[:, 0],
        "top_ids": _lists(top),
        "scores": _lists(scores),
    }


def _lists(values: np.ndarray) -> pa.Array:
    ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, values.reshape(-1))


def _write(path: str, rows: dict[str, object], schema: pa.Schema) -> None:
    count = len(rows["video_id"])  # type: ignore[arg-type]
    arrays = [
        pa.array(rows[field.name]).cast(field.type)
        if field.name in rows
        else pa.nulls(count, field.type)
        for field in schema
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _compared(runs: list[str], out: Path) -> None:
    began = time.monotonic()
    found = compare(runs)
    write(found, out)
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(screen(found))
    print(f"{time.monotonic() - began:.1f} s, {peak:.0f} MiB at most", flush=True)


def main() -> int:
    """Prints the comparison, its time and its memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [make_run(folder / f"r-{r}", arguments.units, r) for r in (0, 64)]
        process = get_context("spawn").Process(target=_compared, args=(runs, folder / "out"))
        process.start()
        process.join()
        return int(process.exitcode != 0)


if __name__ == "__main__":
    sys.exit(main())
