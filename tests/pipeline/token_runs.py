"""Finished runs over small real videos, labeled by a real model or by dice, without Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import sta
from pipeline.inputs.manifest import write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from sta.models.configs import IMAGENET_MEAN as MEAN
from sta.models.configs import IMAGENET_STD as STD
from tests.run_records import run_record
from workers.decode_actor import DecodeActor
from workers.inference.labeler import LabelerConfig
from workers.inference.masks import pack_mask
from workers.inference.pixels import normalized
from workers.label_actor import LabelActor
from workers.sampling import Protocol
from workers.schema import UNITS_SCHEMA

LABELS = list("abcdef")

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a run is made.

    ``checkpoint``: labels by a real model; None throws dice for labels and kept maps. ``change``
    may alter the rows of units/ before they are written. ``embeddings``: whether the real model's
    are stored.
    """

    architecture: str
    protocol: Protocol
    pruning: sta.Pruning
    checkpoint: Path | None = None
    change: Callable[[Rows], None] | None = None
    embeddings: bool = False

    @property
    def grids(self) -> list[tuple[int, int, int]]:
        config = sta.architecture_config(
            self.architecture, frames=self.protocol.frames, image_size=self.protocol.size
        )
        return list(config.token_grids(self.pruning))


VIT = Recipe("vit_demo", Protocol("videomae-k400", clips=2, crops=3, size=112), sta.Pruning(r=22))
SWIN = Recipe(
    "videoswin_tiny", Protocol("videoswin-k400", clips=2, crops=3, frames=32), sta.Pruning(r=256)
)


def make_run(folder: Path, videos: list[Video], recipe: Recipe) -> RunDirectory:
    """Labels videos into a folder."""
    run = RunDirectory(Location.of(str(folder)))
    unit_s = recipe.protocol.unit_s if recipe.protocol.every_s else None
    write_manifest(iter(videos), run.manifest, unit_s=unit_s)
    run.save(run_record(_run_json(recipe)))
    manifest = pq.read_table(run.manifest.uri)
    actor = DecodeActor(recipe.protocol)
    try:
        decoded = list(actor(manifest))
    finally:
        actor.close()
    rows = [row for table in _labeled(decoded, recipe) for row in table.to_pylist()]
    if recipe.change is not None:
        recipe.change(rows)
    Path(run.units.uri).mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=UNITS_SCHEMA), f"{run.units.uri}/part-0.parquet"
    )
    build_tables(run)
    return run


def dice(recipe: Recipe, clip: int, crop: int) -> list[np.ndarray]:
    """The kept maps (n_t, rows, columns) that dice give a view, whatever its video."""
    rng = np.random.default_rng([clip, crop])
    return [rng.random(grid) < 0.5 for grid in recipe.grids]


def _run_json(recipe: Recipe) -> dict[str, Any]:
    fingerprint = "sha256:dice"
    if recipe.checkpoint is not None:
        fingerprint = sta.load_model(recipe.checkpoint).fingerprint
    pruning = dataclasses.asdict(recipe.pruning) if recipe.pruning.r else {"r": 0}
    return {
        "identity": {
            "model": fingerprint,
            "pruning": pruning,
            "protocol": dataclasses.asdict(recipe.protocol),
            "decoder": "pyav",
            "precision": "float32",
            "embeddings": "views" if recipe.embeddings else None,
        },
        "model": {
            "architecture": recipe.architecture,
            "checkpoint": str(recipe.checkpoint or "no such checkpoint"),
            "kept_grids": [list(grid) for grid in recipe.grids],
            "labels": LABELS,
            "channels": 192 if recipe.embeddings else 0,
        },
    }


def _labeled(decoded: list[pa.Table], recipe: Recipe) -> list[pa.Table]:
    if recipe.checkpoint is not None:
        config = LabelerConfig(
            str(recipe.checkpoint), recipe.pruning, compile=False, embeddings=recipe.embeddings
        )
        actor = LabelActor(config, recipe.protocol)
        return [actor(table) for table in decoded]
    return [_by_dice(table, recipe) for table in decoded]


def _by_dice(decoded: pa.Table, recipe: Recipe) -> pa.Table:
    row = decoded.drop_columns(["frames"]).to_pylist()[0]
    if row["status"] == "ok":
        times = np.array(row["clip_times"]).reshape(-1, 2)
        views = [
            _prediction(clip + crop)
            | {
                "clip": row["first_clip"] + clip,
                "crop": crop,
                "start_s": start,
                "end_s": end,
                "kept_token_maps": [
                    pack_mask(mask) for mask in dice(recipe, row["first_clip"] + clip, crop)
                ],
            }
            for clip, (start, end) in enumerate(times.tolist())
            for crop in range(recipe.protocol.crops)
        ]
        row |= _prediction(0) | {"views": views, "scores": [0.5, 0.2, 0.1, 0.1, 0.05, 0.05]}
    return pa.Table.from_pylist([row], schema=UNITS_SCHEMA)


def _prediction(first: int) -> dict[str, Any]:
    ids = [(first + place) % len(LABELS) for place in range(5)]
    scores = [0.5, 0.2, 0.1, 0.1, 0.05]
    return {
        "label": LABELS[ids[0]],
        "label_id": ids[0],
        "score": scores[0],
        "top_ids": ids,
        "top_scores": scores,
    }


def normalized_clip(frames: np.ndarray) -> torch.Tensor:
    """uint8 (T, H, W, 3) as the model takes it, (1, 3, T, H, W)."""
    return normalized(torch.from_numpy(frames)[None], torch.tensor(MEAN), torch.tensor(STD))
