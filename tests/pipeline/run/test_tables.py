"""The flat tables: every unit once, views under their video, totals to the digit."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunError
from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA


def view(clip, crop, flops):
    return {
        "clip": clip,
        "crop": crop,
        "label": "a",
        "label_id": 0,
        "score": 0.5,
        "top_ids": [0],
        "top_scores": [0.5],
        "flops": flops,
        "tokens_kept": [2],
        "kept_token_maps": [b"\xc0"],
        "device_ms": 1.5,
    }


def ok(name, *, ground_truth=None, label="a", flops=10, views=2, lost=0):
    return {
        "unit_id": unit_id(name),
        "video_id": name,
        "uri": f"/x/{name}",
        "ground_truth": ground_truth,
        "status": "ok",
        "attempts": 1,
        "decode_ms": 100.0,
        "bytes_read": 1000,
        "frame_count": 300,
        "lost_frames": lost,
        "duration_s": 10.0,
        "label": label,
        "label_id": 0,
        "score": 0.75,
        "top_ids": [0, 1],
        "top_scores": [0.75, 0.25],
        "scores": [0.75, 0.25],
        "flops": flops * views,
        "device_ms": 1.5 * views,
        "views": [view(0, crop, flops) for crop in range(views)],
    }


def failed(name, reason="corrupt"):
    return {
        "unit_id": unit_id(name),
        "video_id": name,
        "uri": f"/x/{name}",
        "status": "failed",
        "error_type": reason,
        "error": f"{name} is {reason}",
        "attempts": 2,
        "decode_ms": 5.0,
        "bytes_read": 10,
    }


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(Location.of(str(tmp_path)))
    names = ["a", "b", "c", "d"]
    write_manifest((Video(name, f"/x/{name}") for name in names), directory.manifest)
    directory.save(
        run_record(
            {"identity": {"limit": 1}, "model": {"kept_grids": [[1, 1, 2]], "labels": ["a", "z"]}}
        )
    )
    (tmp_path / "units").mkdir()
    return directory


def write_units(run, name, rows):
    table = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
    pq.write_table(table, f"{run.units.uri}/{name}.parquet")


def test_totals_are_the_sums_of_the_rows(run):
    big = 2**60
    write_units(run, "1", [ok("a", ground_truth="a", flops=big, views=3), failed("b")])
    write_units(run, "2", [ok("c", ground_truth="z", lost=4), failed("d", "not_found")])
    totals = build_tables(run)
    assert (totals.videos, totals.ok, totals.clips) == (4, 2, 5)
    assert totals.flops == 3 * big + 20
    assert totals.failures == {"corrupt": 1, "not_found": 1}
    assert totals.examples["not_found"] == [("d", "d is not_found")]
    assert (totals.judged, totals.correct, totals.damaged) == (2, 1, 1)
    assert totals.bytes_read == 2020
    assert totals.video_seconds == 20.0


def test_a_true_label_that_is_no_class_is_counted_and_never_scored(run):
    rows = [
        ok("a", ground_truth="a"),
        ok("b", ground_truth="yak"),
        ok("c", ground_truth="17"),
        ok("d"),
    ]
    write_units(run, "1", rows)
    totals = build_tables(run)
    assert (totals.judged, totals.correct) == (1, 1)
    assert (totals.unknown_ground_truths, totals.unknown_examples) == (2, ["yak", "17"])
    videos = pq.read_table(run.videos.uri).to_pylist()
    assert [(row["ground_truth"], row["ground_truth_id"]) for row in videos] == [
        ("a", 0),
        ("yak", None),
        ("17", None),
        (None, None),
    ]


def test_views_stand_under_their_own_video(run):
    write_units(run, "1", [failed("b"), ok("a", flops=1, views=1), ok("c", flops=2), failed("d")])
    build_tables(run)
    clips = pq.read_table(run.clips.uri).to_pylist()
    assert [(c["video_id"], c["crop"], c["flops"]) for c in clips] == [
        ("a", 0, 1),
        ("c", 0, 2),
        ("c", 1, 2),
    ]
    assert [c["unit_id"] for c in clips] == [unit_id("a"), unit_id("c"), unit_id("c")]
    videos = {v["video_id"]: v for v in pq.read_table(run.videos.uri).to_pylist()}
    assert [videos[name]["num_views"] for name in "abcd"] == [1, 0, 2, 0]
    assert videos["b"]["flops"] is None


def test_a_run_of_failures_alone_leaves_readable_tables(run):
    write_units(run, "1", [failed(name) for name in "abcd"])
    assert build_tables(run).ok == 0
    assert pq.read_table(run.clips.uri).num_rows == 0
    assert pq.read_table(run.videos.uri).num_rows == 4


def test_tables_are_made_anew(run):
    write_units(run, "1", [failed(name) for name in "abcd"])
    build_tables(run)
    build_tables(run)
    assert pq.read_table(run.videos.uri).num_rows == 4


@pytest.mark.parametrize("rows", [["a", "b", "c"], ["a", "b", "c", "d", "a"], ["a", "b", "c", "c"]])
def test_a_missing_or_doubled_unit_is_not_passed_over(run, rows):
    write_units(run, "1", [failed(name) for name in rows])
    with pytest.raises(RunError, match=f"{len(rows)} rows of {len(set(rows))} units .* has 4"):
        build_tables(run)


def test_the_schema_says_how_to_read_the_maps(run):
    write_units(run, "1", [ok(name) for name in "abcd"])
    build_tables(run)
    schema = pq.read_schema(f"{run.clips.uri}/part-00000.parquet")
    assert json.loads(schema.metadata[b"kept_grids"]) == [[1, 1, 2]]
    assert b"most significant bit" in schema.field("kept_token_maps").metadata[b"about"]


def test_only_this_programs_own_files_are_replaced(run, tmp_path):
    write_units(run, "1", [failed(name) for name in "abcd"])
    (tmp_path / "videos").mkdir()
    theirs = [tmp_path / "videos" / name for name in ("holiday.mp4", "part-1.parquet.bak")]
    for path in theirs:
        path.touch()
    build_tables(run)
    build_tables(run)
    assert all(path.exists() for path in theirs)
