"""Lists that runs write, as INPUT: a manifest names the same videos again, wherever they lie."""

import contextlib
import json
import os

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.left_out import BAD_ROWS, MORE_SEGMENTS
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listed_part import listed_part
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import MANIFEST_SCHEMA, unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.storage.location import Location
from tests.scripted_storage import Storage
from tests.tars import by_gnu, by_python
from workers.failures import UnitFailure
from workers.io.fetching import open_source
from workers.io.parts import refusal, without_index

VIDEOS = {f"{number}.mp4": os.urandom(2000 + number) for number in range(3)}
LABELED = VIDEOS | {"1.txt": b"archery"}


@pytest.fixture
def archive(tmp_path):
    """A folder of videos in every form that a listing finds without flags."""
    made = tmp_path / "in"
    made.mkdir()
    by_python(made / "a.tar", LABELED)
    by_gnu(tmp_path / "b.tar.gz", VIDEOS, "gnu", "-z").rename(made / "b.tar.gz")
    (made / "broken.tar").write_bytes((made / "a.tar").read_bytes()[:3000])
    (made / "plain.mp4").write_bytes(b"plain")
    (made / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"not UTF-8")
    return made


def listed(source, folder=None, **settings):
    indexes = None if folder is None else Location(str(folder / "indexes"))
    return list(Listing(str(source), gzip_indexes=indexes, **settings).videos())


def manifest_of(videos, folder, **settings):
    write_manifest(videos, Location(str(folder)), **settings)
    return folder


def same(videos):
    """All that is the same in every run, in the order of ids."""
    known = [
        (each.video_id, each.uri, without_index(each.part), each.size_bytes, each.ground_truth)
        for each in videos
    ]
    return sorted(known, key=lambda each: each[0])


def read(video):
    with open_source(video.uri, part=video.part, etag=video.etag) as source:
        return source.read_at(0, source.size)


def as_list(rows, path):
    """A list of these rows in the format of the file's name."""
    if path.suffix == ".parquet":
        pq.write_table(rows, path)
    elif path.suffix == ".csv":
        pa_csv.write_csv(rows, path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows.to_pylist()))
    return path


@pytest.mark.parametrize("form", ["folder", "file", "list.csv", "list.jsonl"])
def test_a_manifest_as_input_names_the_videos_that_it_names(form, archive, tmp_path):
    first = listed(archive, tmp_path / "first")
    folder = manifest_of(first, tmp_path / "first" / "manifest")
    (file,) = folder.iterdir()
    source = {"folder": folder, "file": file}.get(form)
    source = source or as_list(pq.read_table(file), tmp_path / form)
    again = listed(source, tmp_path / "second")
    assert len(again) == 10
    assert same(again) == same(first)
    contents = {each.video_id: read(each) for each in again if refusal(each.part) is None}
    assert contents["a.tar/1.mp4"] == contents["b.tar.gz/1.mp4"] == VIDEOS["1.mp4"]
    assert sum(refusal(each.part) is not None for each in again) == 1
    labels = checked_input(Listing(str(source)), ["archery"]).labels
    assert (labels.given, labels.known) == (1, 1)


def test_units_have_the_ids_that_they_had(archive, tmp_path):
    first = manifest_of(listed(archive), tmp_path / "first")
    second = manifest_of(listed(first), tmp_path / "second")
    ids = [set(pq.read_table(each)["unit_id"].to_pylist()) for each in (first, second)]
    assert ids[0] == ids[1]


def test_a_member_of_an_archive_that_was_replaced_fails_as_changed(archive, tmp_path):
    folder = manifest_of(listed(archive, tmp_path / "first"), tmp_path / "manifest")
    for name in ("a.tar", "b.tar.gz"):
        os.utime(archive / name, (1, 1))
    changed = {each.video_id: each for each in listed(folder, tmp_path / "second")}
    for name in ("a.tar/1.mp4", "b.tar.gz/1.mp4"):
        with pytest.raises(UnitFailure, match="changed"):
            read(changed[name])


def test_the_index_of_a_gzipped_archive_is_made_anew_and_the_named_one_not_opened(
    archive, tmp_path
):
    first = listed(archive, tmp_path / "first")
    folder = manifest_of(first, tmp_path / "manifest")
    (index,) = (tmp_path / "first" / "indexes").iterdir()
    expected = index.read_bytes()
    index.unlink()
    os.mkfifo(index)  # whoever opens it waits forever, or fails
    again = [each for each in listed(folder, tmp_path / "second") if "b.tar.gz" in each.uri]
    (made,) = (tmp_path / "second" / "indexes").iterdir()
    assert made.read_bytes() == expected
    assert [each.part.partition("@")[2] for each in again] == [str(made)] * 3
    assert sorted(map(read, again)) == sorted(VIDEOS.values())
    for each in listed(folder):  # as a calibration lists, which has no OUTPUT
        assert "@" not in (each.part or "")


def test_an_archive_in_a_bucket_is_read_once_for_all_members_that_a_list_names(
    tmp_path, storage: Storage
):
    path = by_gnu(tmp_path / "a.tar.gz", VIDEOS, "gnu", "-z")
    storage.objects["/bucket/listed.tar.gz"] = path.read_bytes()
    (tmp_path / "list.txt").write_text("s3://bucket/listed.tar.gz\n")
    folder = manifest_of(listed(tmp_path / "list.txt"), tmp_path / "manifest")
    sent = storage.sent
    again = listed(folder, tmp_path / "second")
    assert len(again) == 3
    assert storage.sent - sent <= 1.05 * path.stat().st_size
    assert sorted(map(read, again)) == sorted(VIDEOS.values())


SEGMENTED = [Video("long.mp4", "/in/long.mp4", 9, duration_s=35.0), Video("short.mp4", "/in/s.mp4")]


def test_of_a_manifest_of_segments_each_video_is_listed_once_and_that_is_counted(tmp_path):
    folder = manifest_of(SEGMENTED, tmp_path / "manifest", unit_s=10)
    listing = Listing(str(folder))
    videos = list(listing.videos())
    assert [each.video_id for each in videos] == ["long.mp4", "short.mp4"]
    assert (listing.rows, listing.in_segments) == (5, 1)
    assert dict(listing.skipped) == {MORE_SEGMENTS: 3}
    checked_input(Listing(str(folder)), ["x"])


def test_a_segment_from_the_middle_stands_for_its_video_too(tmp_path):
    folder = manifest_of(SEGMENTED, tmp_path / "manifest", unit_s=10)
    rows = pq.read_table(folder)
    later = rows.filter(pa.compute.equal(rows["start_s"], 20.0))
    listing = Listing(str(as_list(later, tmp_path / "list.csv")))
    (video,) = listing.videos()
    assert (video.video_id, listing.in_segments) == ("long.mp4", 1)


def test_segments_of_other_lists_are_no_units_of_a_run(tmp_path):
    """Their rows may have labels of their own, so two of them are two videos of one id."""
    (tmp_path / "list.csv").write_text("uri,start_s,end_s,label\na.mp4,0,5,x\na.mp4,5,9,y\n")
    listing = Listing(str(tmp_path / "list.csv"))
    with pytest.raises(UsageError, match=r"twice"):
        checked_input(listing, ["x", "y"])


def test_two_videos_of_one_id_are_refused_also_in_segments(tmp_path):
    columns = {name: [None, None] for name in MANIFEST_SCHEMA.names}
    rows = columns | {
        "unit_id": [unit_id("a", 0, 5), unit_id("a", 5, 9)],
        "video_id": ["a", "a"],
        "uri": ["/a.mp4", "/b.mp4"],
        "start_s": [0.0, 5.0],
    }
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    with pytest.raises(UsageError, match="twice"):
        checked_input(Listing(str(tmp_path / "list.parquet")), ["x"])


HOSTILE = [
    "train",
    "bytes:",
    "bytes:-1+5",
    "bytes:0+5;rm",
    "bytes:0x1+5",
    f"bytes:{1 << 63}+1",
    f"bytes:1+{'9' * 300}",
    "gzip:0+",
    f"gzip:{1 << 62}+{1 << 62}@/etc/passwd",
    "parquet:0/0/",
    f"parquet:{1 << 70}/0/video",
    "lance:1/0",
    f"lance:{1 << 70}/0/video",
    "frames:0",
    "frames:nan",
    "frames:1e-300",
    "frames:1e300",
    "frames:25/99999999999",
    "frames:25/../../etc",
    "refused:",
    "refused:not_video",
    "refused:deferred:later",
    "refused:other:reason",
    "file:///etc/passwd",
    "s3://bucket/key",
    "x" * 5000,
]


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_part_that_no_run_writes_is_a_bad_row(part, kind, tmp_path):
    rows = pa.table({"uri": ["/a.mp4", "/b.tar"], "part": [None, part]})
    path = as_list(rows, tmp_path / f"list.{kind}")
    with pytest.raises(UsageError, match=r"names no place in a file; .*--skip-bad-lines") as no:
        listed(path)
    assert len(str(no.value)) < 1000
    listing = Listing(str(path), lists=ListOptions(skip_bad_lines=True))
    assert [each.uri for each in listing.videos()] == ["/a.mp4"]
    assert listing.skipped == {BAD_ROWS: 1}


def test_a_part_with_a_key_is_refused_and_not_repeated(tmp_path):
    row = {"uri": "/a.tar.gz", "part": "gzip:0+9@s3://AKIA:hidden@bucket/x"}
    (tmp_path / "list.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match="the part contains credentials") as no:
        listed(tmp_path / "list.jsonl")
    assert "hidden" not in str(no.value)


@pytest.mark.parametrize(
    "part",
    [
        "bytes:0+5",
        "gzip:7+5",
        "parquet:3/2/video.bytes",
        "lance:1/2/a column",
        "frames:29.97/300",
        "frames:25.0",
        "refused:not_video:a link is not read",
    ],
)
def test_what_a_run_writes_is_read_as_it_is(part):
    assert listed_part(part) == part


def test_the_size_of_a_member_is_what_its_part_says(tmp_path):
    (tmp_path / "list.csv").write_text("uri,part,size_bytes\n/a.tar,bytes:512+7,1000000\n")
    (video,) = listed(tmp_path / "list.csv")
    assert (video.part, video.size_bytes) == ("bytes:512+7", 7)


PLACES = [
    "bytes:0+0",
    "bytes:900000+5",
    "gzip:0+5",
    "gzip:999999999+5",
    "parquet:0/0/x",
    "parquet:99999999/1/x",
    "parquet:0/999999999999/video",
]


@pytest.mark.parametrize("part", PLACES)
@pytest.mark.parametrize("name", ["a.tar", "b.tar.gz", "v.parquet", "", "none"])
def test_a_place_that_a_file_does_not_have_costs_its_row_alone(part, name, archive):
    pq.write_table(pa.table({"video": [b"x" * 9]}), archive / "v.parquet")
    assert listed_part(part) == part
    with contextlib.suppress(UnitFailure), open_source(str(archive / name), part=part) as source:
        assert len(source.read_at(0, source.size)) <= source.size <= 5
