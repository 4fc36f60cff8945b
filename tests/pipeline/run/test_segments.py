"""Recordings: their row in videos/ adds up from segments that lie in different files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.labeling.run import is_finished
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from pipeline.verify.verify import verify
from tests.pipeline.run.test_tables import failed, ok, view
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

EVERY, CLIPS = 2.0, 3
UNIT_S = EVERY * CLIPS


def segment(row, number, units, *, scores=None, clips=CLIPS):
    """A row of a whole video made one of segment `number` of `units`."""
    start, end = number * UNIT_S, None if number == units - 1 else (number + 1) * UNIT_S
    row |= {"unit_id": unit_id(row["video_id"], start, end), "start_s": start, "end_s": end}
    if row["status"] == "ok":
        first = number * CLIPS
        views = [view(first + clip, 0, 10) for clip in range(clips)]
        row |= {"views": views, "flops": 10 * clips, "device_ms": 1.5 * clips, "duration_s": UNIT_S}
        row |= {"scores": scores or [0.75, 0.25]}
    return row


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(Location.of(str(tmp_path)))
    videos = [Video("long", "/x/long", duration_s=20.0), Video("short", "/x/short", duration_s=1.0)]
    write_manifest(iter(videos), directory.manifest, unit_s=UNIT_S)
    directory.save(
        run_record(
            {
                "identity": {"protocol": {"clips": CLIPS, "crops": 1, "every_s": EVERY}},
                "model": {
                    "kept_grids": [[1, 1, 2]],
                    "labels": ["a", "b"],
                    "flops_per_view": 10,
                    "flops_vary_by_clip": False,
                },
            }
        )
    )
    (tmp_path / "units").mkdir()
    (tmp_path / "_checkpoint").mkdir()
    return directory


def commit(run, *parts):
    for number, rows in enumerate(parts):
        table = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
        pq.write_table(table, f"{run.units.uri}/x_{number:06d}-0.parquet")
        pq.write_table(table.select(["unit_id"]), f"{run.checkpoint.uri}/x_{number:06d}.parquet")


def videos(run):
    totals = build_tables(run)
    run.save(run_record(run.load().to_json() | {"totals": vars(totals)}))
    rows = pq.read_table(run.videos.uri, partitioning=None).to_pylist()
    return {row["video_id"]: row for row in rows}, totals


def test_a_recording_adds_up_from_its_segments_in_whatever_files_they_lie(run):
    commit(
        run,
        [segment(ok("long"), 0, 4), segment(ok("short"), 0, 1, clips=1)],
        [segment(ok("long"), 2, 4, scores=[0.0, 1.0]), segment(ok("long"), 1, 4)],
        [segment(ok("long"), 3, 4, scores=[0.0, 1.0], clips=1)],
    )
    rows, totals = videos(run)
    assert rows.keys() == {"long", "short"}
    long = rows["long"]
    assert (long["status"], long["units"], long["units_failed"]) == ("ok", 4, 0)
    assert (long["num_views"], long["flops"], long["bytes_read"]) == (10, 100, 4000)
    # The mean of the softmax over the views: 6 views of 0.75 and 4 of 0.
    assert long["label"] == "b"
    assert long["top_ids"] == [1, 0]
    assert long["top_scores"] == pytest.approx([(6 * 0.25 + 4) / 10, 6 * 0.75 / 10])
    assert (totals.videos, totals.units, totals.clips, totals.flops) == (2, 5, 11, 110)
    assert [check for check in verify(run) if check.problem] == []


def test_a_recording_of_which_half_is_lost_keeps_its_label_and_says_so(run):
    commit(
        run,
        [segment(ok("long"), 0, 4), segment(failed("long", "corrupt"), 1, 4)],
        [segment(failed("long", "timeout"), 2, 4), segment(ok("long"), 3, 4, clips=1)],
        [segment(ok("short"), 0, 1, clips=1)],
    )
    rows, totals = videos(run)
    assert (rows["long"]["status"], rows["long"]["units_failed"]) == ("ok", 2)
    assert rows["long"]["num_views"] == 4
    assert totals.ok == 2
    assert totals.unit_failures == {"corrupt": 1, "timeout": 1}
    assert totals.failures == {}
    assert [check for check in verify(run) if check.problem] == []


def test_a_recording_of_which_more_is_lost_failed_for_the_most_frequent_reason(run):
    commit(
        run,
        [segment(failed("long", "corrupt"), n, 4) for n in (1, 3)],
        [segment(failed("long", "timeout"), 2, 4), segment(ok("long"), 0, 4)],
        [segment(ok("short"), 0, 1, clips=1)],
    )
    rows, _ = videos(run)
    assert (rows["long"]["status"], rows["long"]["error_type"]) == ("failed", "corrupt")
    assert rows["long"]["error"] == "3 of 4 segments failed, 2 of them: long is corrupt"
    assert rows["long"]["label"] is None
    # What its one labeled segment cost still counts.
    assert (rows["long"]["num_views"], rows["long"]["flops"]) == (3, 30)
    assert [check for check in verify(run) if check.problem] == []


def test_a_clip_outside_its_segment_is_found(run):
    shifted = segment(ok("long"), 1, 4)
    shifted["views"] = [each | {"clip": each["clip"] + 3} for each in shifted["views"]]
    commit(
        run,
        [segment(ok("long"), 0, 4), shifted, segment(ok("long"), 2, 4)],
        [segment(ok("long"), 3, 4, clips=1), segment(ok("short"), 0, 1, clips=1)],
    )
    videos(run)
    (problem,) = [check.problem for check in verify(run) if check.problem]
    assert problem.startswith("clips of 1 units lie outside their units")


def test_segments_are_units_of_their_own():
    ids = [unit_id("v", start, start + UNIT_S) for start in np.arange(0, 600, UNIT_S)]
    assert len(set(ids)) == 100


def test_a_labeled_recording_with_failed_segments_can_be_retried(run):
    commit(
        run,
        [segment(ok("long"), n, 4) for n in (0, 1, 2)],
        [segment(failed("long", "timeout"), 3, 4), segment(ok("short"), 0, 1, clips=1)],
    )
    _, totals = videos(run)
    assert totals.ok == 2
    run.save(run_record(run.load().to_json() | {"totals": vars(totals)}))
    run.success.write_bytes(b"")
    assert is_finished(run, retry_failed=False)
    assert not is_finished(run, retry_failed=True)
