"""Time and memory of searches of a run of a million stored embeddings.

    python -m tests.scale.embeddings_at_size --rows 1000000

Makes the tables of a run of whole videos (run.json, clips/, videos/), and then runs each search in
a process of its own, without pictures. Embeddings lie around 400 centers with a common mean; one
in a hundred is nearly a copy of another one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import CLIPS_SCHEMA, VIDEOS_SCHEMA
from pipeline.search.find import Search, find
from pipeline.storage.location import Location
from pipeline.storage.parquet_parts import PartWriter
from tests.run_records import run_record
from tests.scale.peak_memory import peak_mib
from workers.embeddings import lists_of
from workers.schema import EMBEDDING

_ROWS_AT_ONCE = 20_000
_CENTERS, _SPREAD, _COPY = 400, 0.4, 0.05


def make_run(folder: Path, rows: int, views: int, channels: int) -> None:
    """A finished run of so many views, of `views` for each video."""
    run = RunDirectory(Location.of(str(folder)))
    videos = rows // views
    per_file = 100_000_000 // (2 * channels)
    with (
        PartWriter(run.clips, CLIPS_SCHEMA, per_file) as clips,
        PartWriter(run.videos, VIDEOS_SCHEMA, 500_000) as of_videos,
    ):
        for start, vectors in _vectors(videos, channels):
            ids = [f"2026/11/24/video-{start + n:09d}.mp4" for n in range(len(vectors))]
            draw = np.random.default_rng(start)
            noise = 1 + 0.02 * draw.standard_normal((views, *vectors.shape), np.float32)
            of_views = (vectors * noise).swapaxes(0, 1).reshape(-1, channels).astype(np.float16)
            clip = np.tile(np.arange(views, dtype=np.int32), len(ids))
            clips.write(
                _table(
                    CLIPS_SCHEMA,
                    len(clip),
                    video_id=np.repeat(ids, views),
                    unit_id=np.repeat(ids, views),
                    clip=clip,
                    crop=np.zeros_like(clip),
                    start_s=2.0 * clip,
                    end_s=2.0 * clip + 2,
                    embedding=lists_of(of_views),
                )
            )
            of_videos.write(
                _table(
                    VIDEOS_SCHEMA,
                    len(ids),
                    video_id=ids,
                    uri=[f"/archive/{each}" for each in ids],
                    status=["ok"] * len(ids),
                    label=["a"] * len(ids),
                    score=np.full(len(ids), 0.5, np.float32),
                    duration_s=np.full(len(ids), 2.0 * views),
                )
            )
    run.save(
        run_record(
            {
                "identity": {
                    "embeddings": "views",
                    "pruning": {"r": 64},
                    "protocol": {"name": "videomae-k400", "clips": views, "crops": 1},
                },
                "model": {"labels": ["a"], "channels": channels, "backbone": "sha256:b"},
            }
        )
    )
    run.success.write_bytes(b"")


def _vectors(count: int, channels: int) -> Iterator[tuple[int, np.ndarray]]:
    """Number of the first, and float32 (n, d)."""
    draw = np.random.default_rng(0)
    centers = draw.standard_normal((_CENTERS, channels), np.float32)
    centers += 0.5 * draw.standard_normal(channels, np.float32)
    for start in range(0, count, _ROWS_AT_ONCE):
        n = min(_ROWS_AT_ONCE, count - start)
        made = centers[draw.integers(0, _CENTERS, n)]
        made = made + _SPREAD * draw.standard_normal((n, channels), np.float32)
        copies = max(1, n // 100)
        noise = 1 + _COPY * draw.standard_normal((copies, channels), np.float32)
        made[n - copies :] = made[:copies] * noise
        yield start, made


def _table(schema: pa.Schema, count: int, **columns: object) -> pa.Table:
    arrays = []
    for field in schema:
        given = columns.get(field.name)
        if given is None:
            arrays.append(pa.nulls(count, field.type))
        else:
            arrays.append(given if field.name == EMBEDDING else pa.array(given, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _like(run: RunDirectory) -> str:
    return find(_search(run, like=_name(run))).splitlines()[3]


def _like_moment(run: RunDirectory) -> str:
    return find(_search(run, like=f"{_name(run)}@1")).splitlines()[3]


def _duplicates(run: RunDirectory) -> str:
    said = find(_search(run, duplicates=0.98)).splitlines()
    return "; ".join([said[0], *(line for line in said if "cells" in line or "ended" in line)])


def _search(run: RunDirectory, **what: object) -> Search:
    return Search(run.root.uri, thumbnails=0, **what)  # type: ignore[arg-type]


def _name(run: RunDirectory) -> str:
    return "2026/11/24/video-000000007.mp4"


def _measured(step: Callable[[RunDirectory], str], folder: Path) -> None:
    began = time.monotonic()
    cpu = time.process_time()
    said = step(RunDirectory(Location.of(str(folder))))
    print(
        f"{step.__name__.strip('_'):<12} {time.monotonic() - began:7.1f} s  "
        f"{time.process_time() - cpu:7.1f} s of CPU  {peak_mib():7.0f} MiB at most  {said}",
        flush=True,
    )


def main() -> int:
    """Prints a line per search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--views", type=int, default=1, help="of a video")
    parser.add_argument("--channels", type=int, default=192)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        make_run(folder, arguments.rows, arguments.views, arguments.channels)
        for step in (_like, _like_moment, _duplicates):
            process = get_context("spawn").Process(target=_measured, args=(step, folder))
            process.start()
            process.join()
            if process.exitcode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
