"""Earlier runs over a made archive, written as a labeling job leaves them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.video_digests import packed
from pipeline.storage.location import Location
from tests.report_runs import BEGAN
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA


def earlier_run(
    folder: Path,
    names: Sequence[str],
    scores: np.ndarray,
    *,
    labels: Sequence[str] = ("rare", "common", "other"),
    failed: Sequence[str] = (),
    identity: Mapping[str, Any] | None = None,
    trained_on: Sequence[str] = (),
    **more: Any,
) -> str:
    """OUTPUT of a finished run.

    Args:
        folder: where it goes.
        names: ids of its videos.
        scores: (n, classes) probabilities of each; no classes for labels without probabilities.
        labels: its classes.
        failed: ids of videos that failed in it.
        identity: parts of its identity, in place of those that are made up here.
        trained_on: ids of the videos that its head was trained on.
        more: fields of its record.
    """
    run = RunDirectory(Location.of(str(folder)))
    write_manifest((Video(name, f"/x/{name}") for name in names), run.manifest)
    rows: list[dict[str, Any]] = []
    for name, probabilities in zip(names, scores.tolist(), strict=True):
        row = {"unit_id": unit_id(name), "video_id": name}
        if name in failed:
            rows.append(row | {"status": "failed", "error_type": "corrupt"})
            continue
        label = int(np.argmax(probabilities)) if probabilities else 0
        found = {"label_id": label, "scores": probabilities or None}
        rows.append(row | {"status": "ok"} | found)
    Path(run.units.uri).mkdir()
    for number, part in enumerate((rows[::2], rows[1::2])):
        table = pa.Table.from_pylist(part, schema=UNITS_SCHEMA)
        pq.write_table(table, f"{run.units.uri}/{number}.parquet")
    model = {"labels": list(labels), "trained_on": packed(trained_on)}
    said = {"pruning": {"r": 4}} | dict(identity or {})
    record = run_record({"identity": said, "model": model, "attempts": [{}]})
    run.save(dataclasses.replace(record, finished=BEGAN, **more))
    run.success.write_bytes(b"")
    return str(folder)
