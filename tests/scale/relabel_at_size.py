"""Time and memory of relabeling a run of many stored embeddings.

    python -m tests.scale.relabel_at_size --rows 1000000

Makes units/ of a run of whole videos of two views, 1,024 videos a file as the largest runs have
them, and relabels it in this process with a head of 20 classes.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.embeddings.features import feature_spec
from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.relabel.relabel import Relabeling, relabel
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from sta.heads import LinearHead
from tests.embedding_runs import embedding_run
from tests.pipeline.run.test_tables import ok
from tests.scale.peak_memory import peak_mib
from workers.embeddings import with_embeddings
from workers.schema import UNITS_SCHEMA

_VIEWS, _ROWS_PER_FILE, _CLASSES = 2, 1024, 20


def make_run(folder: Path, rows: int, channels: int) -> RunDirectory:
    """A finished run of so many views."""
    run = embedding_run(folder, [ok("first", views=_VIEWS)], clips=_VIEWS)
    for place in (run.units, run.checkpoint):
        for file in place.files(".parquet"):
            file.delete()
    count = rows // _VIEWS
    names = [f"2026/11/24/video-{number:09d}.mp4" for number in range(count)]
    run.manifest.delete_parts()
    write_manifest((Video(name, f"/x/{name}") for name in names), run.manifest)
    draw = np.random.default_rng(0)
    views = [{"clip": clip, "crop": 0} for clip in range(_VIEWS)]
    for start in range(0, count, _ROWS_PER_FILE):
        part = names[start : start + _ROWS_PER_FILE]
        template = ok("first", views=_VIEWS)
        template["views"] = [{**template["views"][0], **view} for view in views]
        made = [template | {"unit_id": unit_id(name), "video_id": name} for name in part]
        table = pa.Table.from_pylist(made, schema=UNITS_SCHEMA)
        vectors = draw.standard_normal((len(part) * _VIEWS, channels), np.float32)
        table = with_embeddings(table, list(vectors.astype(np.float16)))
        pq.write_table(table, f"{run.units.uri}/x_{start:09d}-0.parquet")
        ids = table.select(["unit_id"]).replace_schema_metadata(None)
        pq.write_table(ids, f"{run.checkpoint.uri}/x_{start:09d}.parquet")
    record = run.load()
    model = dataclasses.replace(record.model, channels=channels)
    run.save(dataclasses.replace(record, model=model))
    run.save(dataclasses.replace(run.load(), totals=build_tables(run)))
    return run


def main() -> None:
    """Prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=192)
    options = parser.parse_args()
    draw = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "old", options.rows, options.channels)
        head = LinearHead(
            weight=draw.standard_normal((_CLASSES, options.channels)).astype(np.float32),
            bias=np.zeros(_CLASSES, np.float32),
            labels=tuple(f"class {number}" for number in range(_CLASSES)),
            features=feature_spec(run.load()),
        )
        output = RunDirectory(Location.of(f"{folder}/new"))
        began, used = time.monotonic(), time.process_time()
        relabel(Relabeling(run, output, head))
        seconds, cpu = time.monotonic() - began, time.process_time() - used
    spent = f"{cpu:.0f} s of CPU, {seconds:.0f} s on the clock with tables, verification and report"
    made = f"{options.rows:,} views of {options.channels} channels"
    print(f"{made}: {spent}; {peak_mib():,.0f} MiB at the peak")


if __name__ == "__main__":
    main()
