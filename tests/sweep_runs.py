"""Finished sweep runs of made-up models: what every view says is drawn, and written as a run."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import sta
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.sampling import protocol
from workers.sweep_schema import SWEEP_SCHEMA

CLASSES = 5
LABELS = [f"class {number}" for number in range(CLASSES)]


def said(videos, views=15, *, hard=0.1, noise=1.5, seed=0):
    """(videos, views, CLASSES) float32 probabilities, and the true class of each video.

    In most videos the true class is plain; in a share `hard` two classes are nearly as likely.
    """
    draw = np.random.default_rng(seed)
    ground_truth = draw.integers(CLASSES, size=videos)
    logits = np.zeros((videos, 1, CLASSES))
    is_hard = draw.random(videos) < hard
    logits[np.arange(videos), 0, ground_truth] = np.where(is_hard, 0.3, 6.0)
    logits = logits + noise * draw.standard_normal((videos, views, CLASSES))
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32), ground_truth


def write_sweep(
    folder: Path,
    variants,
    *,
    ground_truths=None,
    failed=0,
    views=(5, 3),
    decode="exact",
    missing=(),
):
    """A finished run.

    Args:
        folder: of the run.
        variants: by name the pruning and (videos, views, classes) probabilities.
        ground_truths: (videos,) true classes, None where none is known.
        failed: videos that failed, besides.
        views: (clips, crops).
        decode: how frames were decoded; fast takes a quarter of the time.
        missing: numbers of videos that failed instead of having their predictions.
    """
    run = RunDirectory(Location.of(str(folder)))
    names = sorted(variants)
    videos, count, classes = variants[names[0]][1].shape
    flops = {
        name: sta.estimate_flops("vit_demo", pruning=pruning, num_classes=classes)
        for name, (pruning, _) in variants.items()
    }
    rows = [
        _row(f"video {number}")
        | {
            "decode_ms": 400.0 if decode == "exact" else 100.0,
            "ground_truth": None if ground_truths is None else LABELS[ground_truths[number]],
            "sweep": [
                {
                    "variant": name,
                    "label_id": int(variants[name][1][number].mean(axis=0).argmax()),
                    "probabilities": variants[name][1][number].ravel(),
                    "flops": flops[name] * count,
                    "device_ms": 1.0,
                }
                for name in names
            ],
        }
        for number in range(videos)
        if number not in missing
    ] + [
        _row(name) | {"status": "failed", "error_type": "corrupt", "error": "broken"}
        for name in [f"broken {number}" for number in range(failed)]
        + [f"video {number}" for number in missing]
    ]
    run.save(
        run_record(
            {
                "identity": {
                    "input": "/videos",
                    "model": "sha256:model",
                    "labels": "sha256:labels",
                    "decode": decode,
                    "variants": {
                        name: dataclasses.asdict(pruning) if pruning.r else {"r": 0}
                        for name, (pruning, _) in variants.items()
                    },
                    "protocol": dataclasses.asdict(
                        protocol("videomae-k400", size=112, views=views)
                    ),
                },
                "model": {
                    "architecture": "vit_demo",
                    "labels": LABELS[:classes],
                    "flops": flops,
                },
            }
        )
    )
    run.units.check_writable()
    for part, begin in enumerate(range(0, len(rows), 400)):
        table = pa.Table.from_pylist(rows[begin : begin + 400], schema=SWEEP_SCHEMA)
        pq.write_table(table, f"{run.units.uri}/part-{part:05d}.parquet")
    run.success.write_bytes(b"")
    return run


def _row(video_id):
    return {
        "unit_id": hashlib.sha256(video_id.encode()).hexdigest(),
        "video_id": video_id,
        "uri": f"/videos/{video_id}.mp4",
        "status": "ok",
    }
