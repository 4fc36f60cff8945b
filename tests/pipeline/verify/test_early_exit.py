"""Verification of early exit: a run passes only if each unit stopped where it should."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from pipeline.verify.verify import verify
from tests.early_exit_files import views_needed
from tests.run_records import run_record
from workers.inference.early_exit import EarlyExit, margins
from workers.sampling import view_order
from workers.schema import UNITS_SCHEMA

CLIPS, CROPS = 3, 2
ORDER = view_order(CLIPS, range(CROPS))
THRESHOLD = 0.5
FLOPS, DENSE = 10, 20
NAMES = [f"v{number}" for number in range(12)]
CHECK = "views: evaluated in order, up to the first that met the early-exit threshold"
CLIPS_CHECK = "clips: declared schema"


def prediction(scores):
    top = np.argsort(-scores, kind="stable")
    said = {"label": "abc"[top[0]], "label_id": int(top[0]), "score": float(scores[top[0]])}
    return said | {"top_ids": top.tolist(), "top_scores": scores[top].tolist()}


def unit(name, *, shadow):
    """A row of a video that stops at the threshold."""
    rng = np.random.default_rng(int(name[1:]))
    every = rng.dirichlet(np.full(3, 0.4), len(ORDER)).astype(np.float32)
    known = margins(every)
    count = views_needed(EarlyExit(THRESHOLD), known)
    views = [
        prediction(scores)
        | {
            "clip": clip,
            "crop": crop,
            "flops": FLOPS,
            "tokens_kept": [1],
            "kept_token_maps": [b"\x80"],
        }
        | {"device_ms": 1.0, "unpruned_label_id": 0 if shadow else None}
        for (clip, crop), scores in sorted(
            zip(ORDER[:count], every, strict=False), key=lambda e: e[0]
        )
    ]
    mean = every[:count].mean(axis=0, dtype=np.float64)
    row = prediction(mean) | {"unit_id": unit_id(name), "video_id": name, "uri": f"/x/{name}"}
    row |= {"status": "ok", "lost_frames": 0, "scores": mean.tolist(), "views": views}
    row |= {"margins": known[:count].tolist(), "flops": count * FLOPS, "device_ms": float(count)}
    if shadow:
        said = prediction(np.array([0.5, 0.3, 0.2]))
        row |= {f"unpruned_{key}": value for key, value in said.items()}
        row |= {"unpruned_flops": len(ORDER) * DENSE, "unpruned_device_ms": 9.0}
    return row


def made(tmp_path, change=lambda rows: None, *, shadow=False):
    """A finished run of such videos, after `change` of its rows."""
    rows = [unit(name, shadow=shadow) for name in NAMES]
    change(rows)
    run = RunDirectory(Location.of(str(tmp_path / "run")))
    write_manifest((Video(name, f"/x/{name}") for name in NAMES), run.manifest)
    for folder in ("units", "_checkpoint"):
        (tmp_path / "run" / folder).mkdir()
    table = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
    pq.write_table(table, f"{run.units.uri}/0.parquet")
    pq.write_table(table.select(["unit_id"]), f"{run.checkpoint.uri}/0.parquet")
    identity = {
        "protocol": {"name": "videomae-k400", "clips": CLIPS, "crops": CROPS},
        "early_exit": {
            "threshold": THRESHOLD,
            "max_views": None,
            "agreement": 0.9,
            "confidence": 0.95,
        },
        "shadow_share": 1.0 if shadow else 0.0,
    }
    model = {"kept_grids": [[1, 1, 2]], "flops_per_view": FLOPS, "flops_per_view_unpruned": DENSE}
    content = {"identity": identity, "model": model | {"flops_vary_by_clip": False}}
    run.save(run_record(content))
    run.save(run_record(content | {"totals": dataclasses.asdict(build_tables(run))}))
    return run


def problems(run):
    return [check.what for check in verify(run) if check.problem]


def evaluated(rows, count):
    """The first row of so many views."""
    return next(row for row in rows if len(row["views"]) == count)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_run_that_stopped_at_its_threshold_passes(tmp_path, shadow):
    run = made(tmp_path, shadow=shadow)
    assert problems(run) == []
    units = pq.read_table(run.units.uri, partitioning=None)
    counts = {len(views) for views in units["views"].to_pylist()}
    assert len(counts) >= 3, "the videos are to differ"


def stops_early(rows):
    """As if a video of three views had stopped after two."""
    row = evaluated(rows, 3)
    last = ORDER[2]
    row["views"] = [view for view in row["views"] if (view["clip"], view["crop"]) != last]
    row["margins"] = row["margins"][:2]
    row["flops"] -= FLOPS
    mean = {1: row["margins"][-1], 2: 0.0}
    row["top_scores"] = [mean[1], mean[2], 0.0]


def stops_late(rows):
    """As if one view more had been evaluated."""
    row = evaluated(rows, 1)
    clip, crop = ORDER[1]
    row["views"] = sorted(
        [*row["views"], row["views"][0] | {"clip": clip, "crop": crop}],
        key=lambda view: (view["clip"], view["crop"]),
    )
    row["margins"] = row["margins"] * 2
    row["flops"] += FLOPS


def looks_elsewhere(rows):
    clip, crop = ORDER[-1]
    evaluated(rows, 1)["views"][0] |= {"clip": clip, "crop": crop}


def mixes_up(rows):
    evaluated(rows, 2)["views"].reverse()


def leads_by_more(rows):
    evaluated(rows, 1)["margins"][0] += 0.01


def forgets_the_leads(rows):
    evaluated(rows, 2)["margins"] = None


@pytest.mark.parametrize(
    "change",
    [stops_early, stops_late, looks_elsewhere, mixes_up, leads_by_more, forgets_the_leads],
)
def test_units_that_did_not_stop_at_the_threshold_are_found(tmp_path, change):
    assert problems(made(tmp_path, change)) == [CHECK]


def test_clips_that_tell_of_other_views_than_units_are_found(tmp_path):
    run = made(tmp_path)
    path = f"{run.clips.uri}/part-00000.parquet"
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    single = next(r for r in rows if sum(o["unit_id"] == r["unit_id"] for o in rows) == 1)
    single |= dict(zip(("clip", "crop"), ORDER[-1], strict=True))
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert [what.startswith(CHECK) for what in problems(run)] == [True]


@pytest.mark.parametrize(("column", "value"), [("clip", CLIPS), ("crop", -1), ("unit_id", "x")])
def test_clips_of_nobody_are_found(tmp_path, column, value):
    run = made(tmp_path)
    path = f"{run.clips.uri}/part-00000.parquet"
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert [what for what in problems(run) if what.startswith(CHECK)]


def test_a_view_that_the_protocol_does_not_have_is_found(tmp_path):
    def beyond(rows):
        rows[0]["views"][0]["clip"] = CLIPS

    found = problems(made(tmp_path, beyond))
    assert [what for what in found if what.startswith(CHECK)]


def test_the_sample_is_labeled_by_all_views_or_it_is_found_out(tmp_path):
    def fewer(rows):
        row = evaluated(rows, 2)
        row["unpruned_flops"] = 2 * DENSE

    found = problems(made(tmp_path, fewer, shadow=True))
    assert [what.partition(":")[0] for what in found] == ["shadow sample"]


def test_units_of_a_slice_that_is_not_decided_yet_are_found(tmp_path):
    run = made(tmp_path)
    decided = [{"threshold": THRESHOLD, "max_views": None, "units": 6}]
    budget = {"flops": 1e9, "money": None, "units": 128, "slices": decided}
    run.save(run_record(run.load().to_json() | {"budget": budget}))
    assert problems(run) == [CHECK]


def test_failed_units_alone_in_a_file_are_no_problem(tmp_path):
    def fails(rows):
        for row in rows:
            nothing = dict.fromkeys(UNITS_SCHEMA.names)
            said = {name: row[name] for name in ("unit_id", "video_id", "uri")}
            row |= nothing | said | {"status": "failed", "error_type": "corrupt", "error": "x"}

    assert problems(made(tmp_path, fails)) == []


def test_a_run_without_early_exit_needs_no_margins(tmp_path):
    run = made(tmp_path)
    content = run.load().to_json()
    del content["identity"]["early_exit"]
    run.save(run_record(content))
    assert [what for what in problems(run) if what.startswith(CHECK)] == []
    assert [what for what in problems(run) if what.startswith(CLIPS_CHECK)]
