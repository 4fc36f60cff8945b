"""The manifest: one row per unit, ids that are stable and unique."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.manifest import (
    MANIFEST_SCHEMA,
    count_rows,
    sampled,
    size_bytes,
    unit_id,
    unit_spans,
    write_manifest,
)
from pipeline.inputs.video import Video
from pipeline.storage.location import Location
from workers.sampling import protocol


def test_every_video_is_one_row_with_its_own_id(tmp_path):
    videos = [Video(f"v{i}", f"/x/v{i}.mp4", 9 - i, "a" if i % 2 else None) for i in range(5)]
    videos[3] = Video("v3", "/x/v3.mp4", 6, "a", etag='"c0ffee"')
    folder = Location.of(str(tmp_path / "manifest"))
    assert write_manifest(iter(videos), folder) == (5, 5)
    table = pq.read_table(folder.uri)
    assert table.schema.equals(MANIFEST_SCHEMA)
    assert table["video_id"].to_pylist() == [f"v{i}" for i in range(5)]
    assert table["ground_truth"].to_pylist() == [None, "a", None, "a", None]
    assert table["etag"].to_pylist() == [None, None, None, '"c0ffee"', None]
    assert len(set(table["unit_id"].to_pylist())) == 5
    assert table["start_s"].null_count == table["end_s"].null_count == 5
    assert count_rows(folder) == 5


def test_the_largest_come_first_and_segments_of_one_recording_in_their_order(tmp_path):
    sizes = {"small": 10, "unknown": None, "large": 1000, "middle": 100, "large too": 1000}
    videos = [Video(name, f"/x/{name}", size, duration_s=12.0) for name, size in sizes.items()]
    folder = Location.of(str(tmp_path / "manifest"))
    write_manifest(videos, folder, unit_s=5.0)
    table = pq.read_table(folder.uri)
    order = ["large", "large too", "middle", "small", "unknown"]
    assert table["video_id"].to_pylist() == [name for name in order for _ in range(3)]
    assert table["start_s"].to_pylist() == [0.0, 5.0, 10.0] * 5
    assert size_bytes(folder) is None


def test_the_size_of_an_archive_is_the_sum_where_all_are_known(tmp_path):
    folder = Location.of(str(tmp_path / "manifest"))
    write_manifest([Video("a", "/x/a", 2**40), Video("b", "/x/b", 7)], folder)
    assert size_bytes(folder) == 2**40 + 7


def test_ids_are_the_same_in_every_run_and_tell_segments_apart():
    assert unit_id("v") == "58afb5725d8cbde68edc"
    assert len({unit_id("v"), unit_id("w"), unit_id("v", 0.0, 10.0), unit_id("v", 10.0, 20.0)}) == 4


@pytest.mark.parametrize("unit_s", [None, 10.0])
def test_two_videos_of_one_id_are_refused_by_name_however_far_apart(tmp_path, monkeypatch, unit_s):
    monkeypatch.setattr("pipeline.inputs.manifest._ROWS_PER_FILE", 10)
    videos = [Video(f"v{i}", f"/x/{i}", duration_s=25.0) for i in range(25)]
    videos[1], videos[20] = Video("same", "/a/x.mp4"), Video("same", "/b/x.mp4", duration_s=25.0)
    with pytest.raises(UsageError, match="have video_id 'same'; every video needs its own"):
        write_manifest(videos, Location.of(str(tmp_path / "manifest")), unit_s=unit_s)


def test_different_ids_of_one_digest_are_both_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inputs.duplicate_ids._digest", lambda video_id: len(video_id))
    folder = Location.of(str(tmp_path / "manifest"))
    assert write_manifest([Video("aa", "/x"), Video("bb", "/x")], folder).videos == 2


@pytest.mark.parametrize(
    ("duration_s", "spans"),
    [
        (25.0, [(0.0, 10.0), (10.0, 20.0), (20.0, None)]),
        (20.0, [(0.0, 10.0), (10.0, None)]),
        (20.000001, [(0.0, 10.0), (10.0, None)]),
        (3.0, [(0.0, None)]),
        (0.0, [(0.0, None)]),
        (None, [(None, None)]),
        (float("inf"), [(None, None)]),
        (1e12, [(None, None)]),
    ],
)
def test_a_recording_is_cut_into_units_without_a_gap(duration_s, spans):
    assert unit_spans(duration_s, 10.0) == spans
    assert unit_spans(duration_s, None) == [(None, None)]


@pytest.mark.parametrize("every_s", [2.0, 0.1, 1 / 3, 1001 / 30000, 7.77, 60.0])
@pytest.mark.parametrize("clips", [1, 3, 16])
def test_units_share_no_clip_lose_none_and_each_holds_one(every_s, clips):
    dense = protocol("videomae-k400", every_s=every_s, views=(clips, 1))
    boundary_s = 5 * dense.unit_s
    near = [boundary_s + part * every_s for part in (-1e-3, -1e-6, 0, 1e-7, 1e-6, 1e-5, 1e-3)]
    others = np.random.default_rng(7).uniform(0.02, 500 * every_s, 30)
    for duration_s in [0.01, every_s, *near, *others]:
        units = [
            dense.clip_numbers(start_s, duration_s if end_s is None else end_s)
            for start_s, end_s in unit_spans(duration_s, dense.unit_s)
        ]
        assert all(len(unit) == clips for unit in units[:-1])
        assert len(units[-1]) >= 1
        assert [clip for unit in units for clip in unit] == [*dense.clip_numbers(0.0, duration_s)]


def test_units_of_recordings_are_rows_of_their_own(tmp_path):
    folder = Location.of(str(tmp_path / "manifest"))
    videos = [Video("day", "/x/day.mkv", duration_s=7200.0), Video("odd", "/x/odd.mkv")]
    assert write_manifest(videos, folder, unit_s=60.0) == (2, 121)
    rows = pq.read_table(folder.uri).to_pylist()
    assert len({row["unit_id"] for row in rows}) == 121
    assert rows[1]["unit_id"] == unit_id("day", 60.0, 120.0)
    assert [(row["start_s"], row["end_s"]) for row in rows[118:]] == [
        (7080.0, 7140.0), (7140.0, None), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("unit_s", [0.0, -1.0, float("nan")])
def test_a_unit_without_length_is_refused(tmp_path, unit_s):
    with pytest.raises(ValueError, match="longer than 0 seconds"):
        write_manifest([], Location.of(str(tmp_path / "manifest")), unit_s=unit_s)


def test_a_manifest_that_is_being_written_is_not_there_yet(tmp_path):
    def videos():
        yield Video("a", "/a")
        raise UsageError("the listing broke off")

    with pytest.raises(UsageError, match="broke off"):
        write_manifest(videos(), Location.of(str(tmp_path / "manifest")))
    assert list((tmp_path / "manifest").iterdir()) == []


def test_a_large_manifest_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inputs.manifest._ROWS_PER_FILE", 10)
    folder = Location.of(str(tmp_path / "manifest"))
    write_manifest((Video(f"v{i}", f"/x/{i}") for i in range(25)), folder)
    assert len(folder.files(".parquet")) == 3
    assert count_rows(folder) == 25


def test_a_sample_is_the_same_in_any_order_and_a_part_of_every_larger_one():
    videos = [Video(f"v{number}", f"/x/{number}") for number in range(300)]
    few = [video.video_id for video in sampled(iter(videos), 20)]
    assert [video.video_id for video in sampled(reversed(videos), 20)] == few
    more = {video.video_id for video in sampled(videos, 150)}
    assert set(few) < more
    assert max(map(unit_id, few)) < min(
        unit_id(v.video_id) for v in videos if v.video_id not in few
    )
    assert list(sampled(videos[:3], 20)) == sorted(videos[:3], key=lambda v: unit_id(v.video_id))
