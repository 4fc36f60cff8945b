"""Sweep runs without videos or models: what every variant says is made up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import sta
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.inference.reduction import SweepVariant, variant_flops
from workers.sampling import protocol
from workers.sweep_schema import SWEEP_SCHEMA

LABELS = ("cat", "dog", "emu", "fox", "gnu", "hen", "ibis")


def probabilities(right, *, views=2, ground_truths=None):
    """(n, views, classes) float32: 0.4 for the true class where `right`, else for the next."""
    right, classes = np.asarray(right, bool), len(LABELS)
    ground_truths = (
        np.zeros(len(right), int) if ground_truths is None else np.asarray(ground_truths)
    )
    said = np.full((len(right), views, classes), 0.6 / (classes - 1), np.float32)
    first = np.where(right, ground_truths, (ground_truths + 1) % classes)
    said[np.arange(len(right)), :, first] = 0.4
    return said


def write_sweep(
    folder: Path,
    said: dict[str, np.ndarray],
    variants: dict[str, SweepVariant],
    ground_truths: list[str | None],
    *,
    failed: int = 0,
    files: int = 2,
    architecture: str = "vit_demo",
) -> RunDirectory:
    """A finished sweep run in which variant `name` says `said[name]` (n, views, classes)."""
    names = sorted(said)
    views = next(iter(said.values())).shape[1]
    plan = dataclasses.asdict(protocol("videomae-k400", size=112, views=(views, 1)))
    flops = {
        name: variant_flops(variant, sta.architecture_config(architecture), num_classes=len(LABELS))
        for name, variant in variants.items()
    }
    rows = [
        {
            "unit_id": f"{number:020x}",
            "video_id": f"video {number}",
            "ground_truth": ground_truth,
            "status": "ok",
            "sweep": [
                {
                    "variant": name,
                    "label_id": int(said[name][number].mean(0).argmax()),
                    "probabilities": said[name][number].reshape(-1),
                    "flops": views * flops[name],
                    "device_ms": views * flops[name] / 1e8,
                }
                for name in names
            ],
        }
        for number, ground_truth in enumerate(ground_truths)
    ]
    rows += [
        {"unit_id": f"f{number:019x}", "video_id": f"failed {number}", "status": "failed"}
        for number in range(failed)
    ]
    run = RunDirectory(Location.of(str(folder)))
    (folder / "units").mkdir(parents=True)
    for number in range(files):
        part = pa.Table.from_pylist(rows[number::files], schema=SWEEP_SCHEMA)
        pq.write_table(part, folder / "units" / f"{number}.parquet")
    attempt = {"labeler_gpus": 0.0, "labeler_cpus": 1.0, "devices": ["cpu: 1 thread of a CPU"]}
    run.save(
        run_record(
            {
                "identity": {
                    "input": "videos.csv",
                    "variants": {name: dataclasses.asdict(variants[name]) for name in names},
                    "protocol": plan,
                },
                "model": {"architecture": architecture, "labels": list(LABELS), "flops": flops},
                "device": {"cpu": "a CPU"},
                "attempts": [attempt],
                "totals": {"unit_failures": {}},
            }
        )
    )
    run.success.write_bytes(b"")
    return run
