"""Finished runs made of rows, without videos, models or Ray."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

BEGAN = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
LABELS = [f"class {number}" for number in range(8)]
EVERY_S, CLIPS = 2.0, 4

PRICES = {
    "gpu_hour": 2.5,
    "core_hour": 0.04,
    "read_gb": 0.01,
    "get_1000": 0.0004,
    "currency": "EUR",
    "gpu_cores": 8,
}


def at(seconds: float) -> datetime.datetime:
    """So many seconds after the first attempt."""
    return BEGAN + datetime.timedelta(seconds=seconds)


def attempt(began: float, ended: float | None, **changes: Any) -> dict[str, Any]:
    """An entry of run.json's attempts: two labelers on cores of a machine of 8."""
    return {
        "began": at(began).isoformat(),
        "ended": None if ended is None else at(ended).isoformat(),
        "decoders": 3,
        "decoder_cpus": 1.0,
        "labelers": 2,
        "labeler_cpus": 1.0,
        "labeler_gpus": 0.0,
        "devices": ["cpu: 1 thread of a CPU"],
        "cpus": 8,
        "gpus": 0,
        "nodes": 1,
    } | changes


ON_GPU = {"labeler_cpus": 0.0, "labeler_gpus": 1.0, "gpus": 2, "cpus": 16, "devices": ["a GPU"]}


def draw(video: str, salt: str) -> np.random.Generator:
    """Numbers that belong to a video, the same each time."""
    digest = hashlib.blake2b(f"{video}{salt}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def scores_of(video: str, blur: float) -> np.ndarray:
    """(classes,) probabilities; those of a blurred model lie near those of the sharp one."""
    logits = 2 * draw(video, "logits").normal(size=len(LABELS))
    logits = logits + blur * draw(video, f"blur {blur}").normal(size=len(LABELS))
    probabilities = np.exp(logits - logits.max())
    return np.asarray((probabilities / probabilities.sum()).astype(np.float32))


def prediction(scores: np.ndarray, prefix: str = "") -> dict[str, Any]:
    """The columns of a label, from scores."""
    top = np.argsort(-scores, kind="stable")[:5]
    return {
        f"{prefix}label": LABELS[top[0]],
        f"{prefix}label_id": int(top[0]),
        f"{prefix}score": float(scores[top[0]]),
        f"{prefix}top_ids": top.tolist(),
        f"{prefix}top_scores": scores[top].tolist(),
    }


@dataclasses.dataclass(frozen=True)
class Made:
    """What a made run is like.

    Attributes:
        r: its pruning.
        flops: of a view.
        device_ms: of a view.
        blur: how far its scores lie from the unpruned model's.
        shadow: share of the shadow sample; here every second video if it is not 0.
        ground_truth: whether it is given; that of every tenth video is no class of the model.
        scheme: where its videos lie.
        failing: videos that fail.
        views: of a video.
    """

    r: int = 0
    flops: int = 1_000_000
    device_ms: float = 20.0
    blur: float = 0.0
    shadow: float = 0.0
    ground_truth: bool = True
    scheme: str = "s3://bucket/"
    failing: tuple[str, ...] = ()
    views: int = 2


def unit(video: str, made: Made, second: float) -> dict[str, Any]:
    """A row of units/ for a whole video."""
    row: dict[str, Any] = {
        "unit_id": unit_id(video),
        "video_id": video,
        "uri": f"{made.scheme}{video}",
        "attempts": 1,
        "decode_ms": 50 + 10 * float(draw(video, "decode").random()),
        "bytes_read": 1_000_000 + len(video),
        "duration_s": 9 + float(draw(video, "length").random()),
        "labeled_at": at(second),
    }
    if made.ground_truth:
        known = prediction(scores_of(video, 0.5))["label"]
        row["ground_truth"] = "no class" if video.endswith("9.mp4") else known
    if video in made.failing:
        return row | {"status": "failed", "error_type": "corrupt", "error": f"{video} is corrupt"}
    scores, dense = scores_of(video, made.blur), scores_of(video, 0.0)
    view = prediction(scores) | {
        "clip": 0,
        "flops": made.flops,
        "tokens_kept": [2],
        "kept_token_maps": [b"\xc0"],
        "device_ms": made.device_ms + float(draw(video, "device").random()),
    }
    row |= prediction(scores) | {
        "status": "ok",
        "lost_frames": 0,
        "scores": scores.tolist(),
        "flops": made.flops * made.views,
        "device_ms": view["device_ms"] * made.views,
        "views": [view | {"crop": crop} for crop in range(made.views)],
    }
    if made.shadow and int(unit_id(video), 16) % 2:
        row |= prediction(dense, "unpruned_") | {
            "unpruned_scores": dense.tolist(),
            "unpruned_flops": 2 * made.flops * made.views,
            "unpruned_device_ms": 2 * view["device_ms"] * made.views,
        }
        shadow_id = row["unpruned_label_id"]
        row["views"] = [each | {"unpruned_label_id": shadow_id} for each in row["views"]]
    return row


def segments(video: str, made: Made, count: int) -> list[dict[str, Any]]:
    """Rows of units/ for a recording of so many segments of CLIPS clips each."""
    rows, length = [], EVERY_S * CLIPS
    for number in range(count):
        first, last = number * length, None if number == count - 1 else (number + 1) * length
        name = f"{video}#{number}"
        row = unit(name, dataclasses.replace(made, views=1), second=1 + number)
        clips = []
        for clip in range(CLIPS):
            scores = scores_of(f"{name}.{clip}", made.blur)
            clips.append(row["views"][0] | prediction(scores) | {"clip": number * CLIPS + clip})
            if row.get("unpruned_label_id") is not None:
                dense = prediction(scores_of(f"{name}.{clip}", 0.0))
                clips[-1]["unpruned_label_id"] = dense["label_id"]
        rows.append(
            row
            | {"unit_id": unit_id(video, first, last), "video_id": video, "start_s": first}
            | {
                "end_s": last,
                "ground_truth": None,
                "uri": f"{made.scheme}{video}",
                "duration_s": length,
            }
            | {"views": clips, "flops": CLIPS * made.flops}
            | {"device_ms": sum(each["device_ms"] for each in clips)}
        )
    return rows


def write_run(
    folder: Path,
    rows: list[dict[str, Any]],
    made: Made,
    *,
    attempts: list[dict[str, Any]] | None = None,
    every_s: float | None = None,
    **changes: Any,
) -> str:
    """Writes a finished run of these rows, in three files; `changes` are of run.json."""
    run = RunDirectory(Location.of(str(folder)))
    ids = list(dict.fromkeys(row["video_id"] for row in rows))
    length = {name: sum(r["duration_s"] for r in rows if r["video_id"] == name) for name in ids}
    videos = (Video(name, f"{made.scheme}{name}", duration_s=length[name]) for name in ids)
    unit_s = None if every_s is None else every_s * CLIPS
    write_manifest(videos, run.manifest, unit_s=unit_s)
    identity = {
        "input": "s3://bucket",
        "model": "abc",
        "labels": "eight",
        "pruning": {"r": made.r},
        "protocol": {
            "name": "videomae-k400",
            "clips": CLIPS if every_s else 1,
            "crops": 1 if every_s else made.views,
            "every_s": every_s,
        },
    }
    if made.shadow:
        identity["shadow_share"] = made.shadow
    content = {
        "identity": identity,
        "model": {
            "architecture": "vit_demo",
            "labels": LABELS,
            "kept_grids": [[1, 1, 2]],
            "flops_per_view": made.flops,
            "flops_per_view_unpruned": 1_000_000,
        },
        "prices": None,
        "device": {"cpu": "a CPU", "cpus": 8, "gpus": 0, "nodes": 1},
        "attempts": [attempt(0, 60)] if attempts is None else attempts,
    }
    run.save(run_record(content | changes))
    (folder / "units").mkdir()
    for number in range(3):
        table = pa.Table.from_pylist(rows[number::3], schema=UNITS_SCHEMA)
        pq.write_table(table, folder / "units" / f"x_{number:06d}-0.parquet")
    totals = build_tables(run)
    run.save(run_record(run.load().to_json() | {"totals": dataclasses.asdict(totals)}))
    run.success.write_bytes(b"")
    return str(folder)


def make_run(folder: Path, made: Made, *, videos: int = 40, first: int = 0, **more: Any) -> str:
    """A finished run over whole videos, which are the same for the same numbers."""
    names = [f"video-{number:03d}.mp4" for number in range(first, first + videos)]
    rows = [unit(name, made, second=1 + number) for number, name in enumerate(names)]
    return write_run(folder, rows, made, **more)


def make_segmented_run(
    folder: Path, made: Made, *, videos: int = 4, count: int = 5, **more: Any
) -> str:
    """A finished run over recordings of so many segments."""
    rows = [row for number in range(videos) for row in segments(f"tape-{number}.mp4", made, count)]
    return write_run(folder, rows, made, every_s=EVERY_S, **more)
