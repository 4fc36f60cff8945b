"""Listing: every video once, in a fixed order; everything else counted or refused."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.listing import Listing


def found(source):
    listing = Listing(str(source))
    return list(listing.videos()), listing.skipped


def touch(path, size=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_a_directory_is_searched_through_in_a_fixed_order(tmp_path):
    for name in ("b.mp4", "a/z.MKV", "a/b/c.webm", "c d.avi", "-dash.mov", "50%.ts"):
        touch(tmp_path / name, size=len(name))
    videos, skipped = found(tmp_path)
    ids = ["-dash.mov", "50%.ts", "b.mp4", "c d.avi", "a/z.MKV", "a/b/c.webm"]
    assert [video.video_id for video in videos] == ids
    assert [video.uri for video in videos] == [str(tmp_path / name) for name in ids]
    assert [video.size_bytes for video in videos] == [len(name) for name in ids]
    assert not skipped


def test_other_files_are_counted_by_extension(tmp_path):
    for name in ("a.mp4", "b.txt", "c.txt", "noext", ".hidden"):
        touch(tmp_path / name)
    videos, skipped = found(tmp_path)
    assert len(videos) == 1
    assert skipped == {".txt": 2, "no extension": 2}


def test_one_file_is_one_video_whatever_its_name(tmp_path):
    touch(tmp_path / "clip.bin", size=7)
    videos, _ = found(tmp_path / "clip.bin")
    assert [(v.video_id, v.size_bytes) for v in videos] == [("clip.bin", 7)]


def test_a_broken_link_is_listed_so_that_it_gets_its_row(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    videos, _ = found(tmp_path)
    assert [(v.video_id, v.size_bytes) for v in videos] == [("gone.mp4", None)]


def test_linked_folders_are_searched_and_loops_end(tmp_path):
    touch(tmp_path / "in" / "a.mp4")
    touch(tmp_path / "elsewhere" / "b.mp4")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    videos, _ = found(tmp_path / "in")
    assert [video.video_id for video in videos] == ["a.mp4", "linked/b.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UsageError, match="cannot list .*closed: Permission denied"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "there is no nowhere"),
        ("nowhere.csv", "there is no .*nowhere.csv"),
        ("s3://", "names no bucket"),
        ("gs://bucket/x", "gs:// is not supported; use a directory or s3://"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_one_line(source, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        found(source)


ROWS = [
    {"uri": "videos/a.mp4", "video_id": "first", "label": "jump"},
    {"uri": "/elsewhere/b.mp4", "video_id": None, "label": None},
    {"uri": "s3://bucket/c.mp4", "video_id": "third", "label": "run"},
]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_manifests_give_addresses_ids_and_labels(tmp_path, kind):
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "csv":
        lines = [",".join(r[k] or "" for k in ("uri", "video_id", "label")) for r in ROWS]
        path.write_text("\n".join(["uri,video_id,label", *lines]))
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    videos, _ = found(path)
    assert [v.uri for v in videos] == [
        str(tmp_path / "videos/a.mp4"),
        "/elsewhere/b.mp4",
        "s3://bucket/c.mp4",
    ]
    assert [v.video_id for v in videos] == ["first", "/elsewhere/b.mp4", "third"]
    assert [v.label for v in videos] == ["jump", None, "run"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "path,label\nx.mp4,y", "has no column uri; it has path, label"),
        ("b.jsonl", '{"uri": "a.mp4"}\n{"label": "y"}', "row 2: no uri"),
        ("c.jsonl", "{nonsense", "cannot read the manifest"),
        ("d.parquet", "nonsense", "cannot read the manifest"),
    ],
)
def test_a_malformed_manifest_is_refused_with_what_is_wrong(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        found(tmp_path / name)


def test_object_storage_is_listed_past_a_thousand_keys(s3):
    s3.create_bucket(Bucket="many")
    for number in range(1100):
        s3.put_object(Bucket="many", Key=f"day/{number:04d}.mp4", Body=b"x")
    s3.put_object(Bucket="many", Key="day/notes.txt", Body=b"x")
    s3.put_object(Bucket="many", Key="day/sub/", Body=b"")
    s3.put_object(Bucket="many", Key="day2/other.mp4", Body=b"x")
    videos, skipped = found("s3://many/day/")
    assert len(videos) == 1100
    assert videos[-1].video_id == "1099.mp4"
    assert videos[-1].uri == "s3://many/day/1099.mp4"
    assert skipped == {".txt": 1}


def test_one_object_and_a_manifest_in_object_storage(s3):
    s3.create_bucket(Bucket="few")
    s3.put_object(Bucket="few", Key="x/one.mp4", Body=b"abc")
    s3.put_object(Bucket="few", Key="x/list.csv", Body=b"uri\none.mp4\n")
    assert [(v.video_id, v.size_bytes) for v in found("s3://few/x/one.mp4")[0]] == [("one.mp4", 3)]
    assert [v.uri for v in found("s3://few/x/list.csv")[0]] == ["s3://few/x/one.mp4"]


def test_a_bucket_that_is_not_there_is_refused_in_one_line(s3):
    with pytest.raises(UsageError, match="cannot list s3://absent/x: there is no such bucket"):
        found("s3://absent/x")
