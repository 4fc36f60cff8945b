"""The manifest: one row per unit, ids that are stable and unique."""

import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.listing import Video
from pipeline.manifest import MANIFEST_SCHEMA, count_rows, unit_id, write_manifest
from pipeline.storage import Location


def test_every_video_is_one_row_with_its_own_id(tmp_path):
    videos = [Video(f"v{i}", f"/x/v{i}.mp4", i, "a" if i % 2 else None) for i in range(5)]
    folder = Location.of(str(tmp_path / "manifest"))
    assert write_manifest(iter(videos), folder) == 5
    table = pq.read_table(folder.uri)
    assert table.schema.equals(MANIFEST_SCHEMA)
    assert table["video_id"].to_pylist() == [f"v{i}" for i in range(5)]
    assert table["label"].to_pylist() == [None, "a", None, "a", None]
    assert len(set(table["unit_id"].to_pylist())) == 5
    assert count_rows(folder) == 5


def test_ids_are_the_same_in_every_run_and_tell_stretches_apart():
    assert unit_id("v") == "58afb5725d8cbde68edc"
    assert len({unit_id("v"), unit_id("w"), unit_id("v", 0.0, 10.0), unit_id("v", 10.0, 20.0)}) == 4


def test_two_videos_of_one_id_are_refused_by_name(tmp_path):
    videos = [Video("same", "/a/x.mp4"), Video("same", "/b/x.mp4")]
    with pytest.raises(UsageError, match="video_id 'same' stands twice"):
        write_manifest(videos, Location.of(str(tmp_path / "manifest")))


def test_a_large_manifest_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.manifest._ROWS_PER_FILE", 10)
    folder = Location.of(str(tmp_path / "manifest"))
    write_manifest((Video(f"v{i}", f"/x/{i}") for i in range(25)), folder)
    assert len(folder.files(".parquet")) == 3
    assert count_rows(folder) == 25
