"""Small runs that store embeddings, made row by row, and heads that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.embeddings.features import feature_spec
from pipeline.run.run_directory import RunDirectory
from sta.heads import LinearHead
from tests.report_runs import attempt, made_run

CHANNELS = 4

Vectors = npt.NDArray[np.float16]


def with_vectors(row: dict[str, Any], vectors: Vectors) -> dict[str, Any]:
    """The row of an ok unit, with a view for each of these embeddings."""
    first = row["views"][0]
    views = [
        first | {"clip": number, "start_s": float(number), "end_s": number + 1.0, "embedding": each}
        for number, each in enumerate(vectors)
    ]
    each = {name: row[name] / len(row["views"]) for name in ("flops", "device_ms")}
    sums = {
        "flops": int(each["flops"]) * len(views),
        "device_ms": each["device_ms"] * len(views),
    }
    return row | sums | {"views": views}


def embedding_run(
    folder: Path,
    *files: list[dict[str, Any]],
    stored: str = "views",
    clips: int = 2,
    identity: Mapping[str, Any] | None = None,
    **more: Any,
) -> RunDirectory:
    """A finished run of these rows, which have embeddings of CHANNELS channels."""
    said: dict[str, Any] = {
        "input": "/archive",
        "embeddings": stored,
        "pruning": {"r": 1, "score": "sta", "grouping": "released"},
        "protocol": {"name": "videomae-k400", "clips": clips, "crops": 1},
        "shape": {"frames": 16, "mean": [0.5] * 3, "std": [0.25] * 3},
        "unit_schema": 6,
    }
    model = {
        "architecture": "vit_demo",
        "checkpoint": "demo",
        "labels": ["a", "b"],
        "kept_grids": [[1, 1, 2]],
        "flops_per_view": 10,
        "flops_per_view_unpruned": 20,
        "backbone": "sha256:b",
        "channels": CHANNELS,
        "license": "cc-by-4.0",
    }
    run = made_run(
        folder,
        *files,
        identity=said | dict(identity or {}),
        model=model,
        attempts=[attempt(0, 60)],
        **more,
    )
    _confirm(run, files)
    run.success.write_bytes(b"")
    return run


def _confirm(run: RunDirectory, files: Sequence[list[dict[str, Any]]]) -> None:
    """The checkpoints of the files in units/, as Ray Data leaves them."""
    Path(run.checkpoint.uri).mkdir()
    for number, rows in enumerate(files):
        ids = pa.table({"unit_id": pa.array([row["unit_id"] for row in rows], pa.string())})
        pq.write_table(ids, f"{run.checkpoint.uri}/x_{number:06d}.parquet")


def head_of(run: RunDirectory, labels: Sequence[str] = ("u", "v", "w"), **more: Any) -> LinearHead:
    """A head with made weights that fits the run's embeddings."""
    rng = np.random.default_rng(5)
    return LinearHead(
        weight=rng.normal(size=(len(labels), CHANNELS)).astype(np.float32),
        bias=rng.normal(size=len(labels)).astype(np.float32),
        labels=tuple(labels),
        features=feature_spec(run.load()),
        **more,
    )
