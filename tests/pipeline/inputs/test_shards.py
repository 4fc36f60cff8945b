"""Tar archives as input: each member is a video, wherever the archive lies and whoever wrote it."""

import gzip
import os
import tarfile
import time

import pytest

from pipeline.errors import UsageError
from pipeline.inputs import tar_index
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing
from pipeline.inputs.shards import WITHOUT_VIDEO
from pipeline.storage.location import Location
from tests.scripted_storage import Storage
from tests.tars import GNU_FORMATS, PYTHON_FORMATS, by_gnu, by_python, by_webdataset
from workers.failures import ErrorType, UnitFailure
from workers.io import gzip_part
from workers.io.fetching import open_source
from workers.io.gzip_part import SPACING_BYTES, GzipContent, failure_of
from workers.io.parts import refusal

LONG = "/".join(["a folder with a long name"] * 12)
SHORT = {"a.mp4": b"first", "folder/b.webm": os.urandom(2000), "folder/c.d.mkv": b"\0" * 512}
CONTENTS = SHORT | {f"{LONG}/long.mp4": b"long", "käse/ü.mp4": b"umlaut", "readme.txt": b"read"}


def listed(source, **settings):
    listing = Listing(str(source), **settings)
    return list(listing.videos()), listing


def contents(videos):
    found = {}
    for video in videos:
        with open_source(video.uri, part=video.part, etag=video.etag) as source:
            assert source.size == video.size_bytes
            found[video.video_id] = source.read_at(0, source.size)
    return found


def expected(shard, members):
    return {f"{shard}/{name}": data for name, data in members.items() if not name.endswith(".txt")}


@pytest.mark.parametrize("kind", [*PYTHON_FORMATS, *(f"GNU tar {name}" for name in GNU_FORMATS)])
def test_members_are_read_as_they_were_written(kind, tmp_path):
    path = tmp_path / "shard.tar"
    names = CONTENTS if kind in ("gnu", "pax", "GNU tar gnu", "GNU tar posix") else SHORT
    if kind in PYTHON_FORMATS:
        by_python(path, names, PYTHON_FORMATS[kind])
    else:
        by_gnu(path, names, kind.split()[-1])
    videos, listing = listed(path)
    assert contents(videos) == expected("shard.tar", names)
    assert [video.video_id for video in videos] == list(expected("shard.tar", names))
    assert dict(listing.skipped) == ({".txt": 1} if "readme.txt" in names else {})


def test_a_folder_packed_by_its_name_has_no_dots_in_its_ids(tmp_path):
    by_gnu(tmp_path / "y.tar", SHORT, "gnu", "--transform=s,^,./,")
    videos, _ = listed(tmp_path / "y.tar")
    assert contents(videos) == expected("y.tar", SHORT)


def test_shards_of_webdataset_have_the_labels_of_their_samples(tmp_path):
    samples = {
        "0": {"mp4": b"video", "cls": 3},
        "1": {"mp4": b"video", "json": {"label": "archery", "fps": 30}},
        "2": {"webm": b"video", "txt": "playing chess"},
        "3": {"mp4": b"video", "json": {"caption": "words"}},
        "d/4": {"left.mp4": b"left", "right.mp4": b"right", "cls": 5},
        "5": {"cls": 7, "json": {"label": "other"}, "mp4": b"video", "npy": b"array"},
    }
    by_webdataset(tmp_path / "shard.tar", samples)
    videos, listing = listed(tmp_path)
    assert {video.video_id.removeprefix("shard.tar/"): video.ground_truth for video in videos} == {
        "0.mp4": "3",
        "1.mp4": "archery",
        "2.webm": "playing chess",
        "3.mp4": None,
        "d/4.left.mp4": "5",
        "d/4.right.mp4": "5",
        "5.mp4": "7",
    }
    assert dict(listing.skipped) == {".npy": 1}


def test_labels_of_shards_are_matched_before_any_work(tmp_path):
    by_webdataset(tmp_path / "a.tar", {"0": {"mp4": b"v", "cls": 9}, "1": {"mp4": b"v", "cls": 0}})
    labels = checked_input(Listing(str(tmp_path)), ["archery", "bowling"]).labels
    assert labels.given == 2
    assert labels.has_other_ids
    assert "ids go up to 9" in labels.problem()


def test_labels_are_those_of_one_video_where_names_have_dots(tmp_path):
    by_python(
        tmp_path / "a.tar",
        {"a.1.mp4": b"v", "a.1.txt": b"one", "a.2.mp4": b"v", "a.3.mp4": b"v", "a.txt": b"all"},
    )
    videos, _ = listed(tmp_path / "a.tar")
    assert [video.ground_truth for video in videos] == ["one", "all", "all"]


def test_archives_stand_among_the_videos_of_a_folder(tmp_path):
    (tmp_path / "b.mp4").write_bytes(b"alone")
    by_python(tmp_path / "a.tar", {"x.mp4": b"x"})
    by_python(tmp_path / "c.tar", {"notes.pdf": b"x"})
    by_python(tmp_path / ".hidden.tar", {"x.mp4": b"x"})
    (tmp_path / "empty.tar").write_bytes(b"")
    by_python(tmp_path / "none.tar", {})
    videos, listing = listed(tmp_path)
    assert contents(videos) == {"a.tar/x.mp4": b"x", "b.mp4": b"alone"}
    assert dict(listing.skipped) == {"empty": 1, "hidden": 1, ".pdf": 1, WITHOUT_VIDEO: 2}


def test_a_list_may_name_archives(tmp_path):
    by_python(tmp_path / "a.tar", {"x.mp4": b"x", "y.mp4": b"y", "y.txt": b"bowling"})
    (tmp_path / "list.csv").write_text("uri,label,video_id\na.tar,archery,one\n")
    videos, _ = listed(tmp_path / "list.csv")
    assert [(video.video_id, video.ground_truth) for video in videos] == [
        ("one/x.mp4", "archery"),
        ("one/y.mp4", "bowling"),
    ]
    assert contents(videos) == {"one/x.mp4": b"x", "one/y.mp4": b"y"}


def test_a_data_set_list_finds_its_videos_in_archives(tmp_path):
    by_python(tmp_path / "a.tar", {"val/abc_000001_000011.mp4": b"x", "val/other.mp4": b"y"})
    (tmp_path / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\narchery,abc,1,11,val\n"
    )
    lists = ListOptions(video_root=str(tmp_path))
    (video,), _ = listed(tmp_path / "val.csv", lists=lists)
    assert (list(contents([video]).values()), video.ground_truth) == ([b"x"], "archery")


def test_all_files_takes_members_by_their_first_bytes(tmp_path):
    picture, video = b"\x89PNG\r\n\x1a\n" + bytes(600), b"\0\0\0\x18ftypmp42" + bytes(600)
    by_python(tmp_path / "a.tar", {"x": video, "y": picture, "z.bin": video})
    videos, listing = listed(tmp_path / "a.tar", all_files=True)
    assert [video.video_id for video in videos] == ["a.tar/x", "a.tar/z.bin"]
    assert dict(listing.skipped) == {"PNG picture": 1}


def test_an_archive_that_was_replaced_is_not_read(tmp_path):
    path = by_python(tmp_path / "a.tar", {"x.mp4": b"first"})
    videos, _ = listed(path)
    time.sleep(0.01)
    by_python(path, {"x.mp4": b"other"})
    with pytest.raises(UnitFailure) as caught:
        contents(videos)
    assert caught.value.error_type is ErrorType.changed
    assert contents(listed(path)[0]) == {"a.tar/x.mp4": b"other"}


def test_an_archive_is_indexed_once_in_a_process(tmp_path, monkeypatch):
    path = by_python(tmp_path / "a.tar", SHORT)
    first = listed(path)[0]
    monkeypatch.setattr(tar_index, "members", None)
    assert listed(path)[0] == first


@pytest.mark.parametrize("size", [100, 40_000, 3_000_000])
def test_headers_of_an_object_are_read_in_few_requests_and_members_in_one(
    size, tmp_path, storage: Storage
):
    members = {f"{number}.mp4": os.urandom(size) for number in range(1000 if size == 100 else 10)}
    path = by_python(tmp_path / "a.tar", members)
    uri = f"s3://bucket/{size}.tar"
    storage.objects[f"/bucket/{size}.tar"] = path.read_bytes()
    index = tar_index.indexed(uri, path.stat().st_size, storage.etag)
    requests, sent = len(storage.ranges), storage.sent
    assert [member.name for member in index.members] == list(members)
    if size < 1_000_000:
        assert requests <= 4
    else:
        assert sent <= 0.1 * path.stat().st_size
    assert set(storage.conditions) == {storage.etag}
    last = index.members[-1]
    part = f"bytes:{last.offset}+{last.size}"
    with open_source(uri, part=part, etag=storage.etag) as source:
        assert source.read_at(0, source.size) == members[last.name]
        assert source.fetched == source.size
    assert storage.ranges[requests:] == [f"bytes={last.offset}-{last.offset + size - 1}"]
    assert storage.conditions[-1] == storage.etag


def test_shards_of_a_bucket_are_listed_and_read(s3, tmp_path):
    s3.create_bucket(Bucket="shards")
    for number in range(3):
        path = by_python(tmp_path / f"{number}.tar", {f"{number}/{n}.mp4": b"x" for n in range(5)})
        s3.upload_file(str(path), "shards", f"day/{number}.tar")
    s3.put_object(Bucket="shards", Key="day/alone.mp4", Body=b"alone")
    videos, _ = listed("s3://shards/day")
    assert [video.video_id for video in videos] == [
        *(f"{number}.tar/{number}/{n}.mp4" for number in range(3) for n in range(5)),
        "alone.mp4",
    ]
    assert set(contents(videos[:15]).values()) == {b"x"}
    one, _ = listed("s3://shards/day/1.tar")
    assert [video.video_id for video in one] == [f"1.tar/1/{n}.mp4" for n in range(5)]
    s3.upload_file(str(tmp_path / "2.tar"), "shards", "day/1.tar")
    with pytest.raises(UnitFailure) as caught:
        contents(one)
    assert caught.value.error_type is ErrorType.changed


def test_an_archive_that_cannot_be_read_now_ends_the_listing(tmp_path, storage: Storage):
    storage.objects["/bucket/a.tar"] = by_python(tmp_path / "a.tar", SHORT).read_bytes()
    storage.answers["/bucket/a.tar"] = 404, "NoSuchKey"
    (tmp_path / "list.csv").write_text("uri\ns3://bucket/a.tar\n")
    (video,), _ = listed(tmp_path / "list.csv")
    failure = refusal(video.part)
    assert failure is not None
    assert failure.error_type is ErrorType.not_found
    storage.answers["/bucket/a.tar"] = 400, "Strange"
    with pytest.raises(UsageError, match="cannot list s3://bucket/a.tar: "):
        listed(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\x1f\x8b\x08" + bytes(600), "a gzip archive, not a tar"), (b"x" * 600, "text, not a tar")],
)
def test_what_is_no_tar_is_refused_alone_and_a_row_among_others(content, said, tmp_path):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        listed(tmp_path / "a.tar")
    by_python(tmp_path / "b.tar", {"x.mp4": b"x"})
    (no_tar, _), _ = listed(tmp_path)
    failure = refusal(no_tar.part)
    assert failure is not None
    assert (no_tar.video_id, failure.error_type) == ("a.tar", ErrorType.not_video)


def gzipped(path, members, *more):
    """An archive by GNU tar and gzip, as data sets are handed out."""
    return by_gnu(path, members, "gnu", "-z", *more)


BIG = {f"{number}.mp4": os.urandom(1_500_000) for number in range(12)} | {"9.txt": b"archery"}


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz"])
@pytest.mark.parametrize("has_index", [True, False])
def test_members_of_a_gzipped_archive_are_read_in_any_order(name, has_index, tmp_path):
    path = gzipped(tmp_path / name, BIG)
    indexes = Location(str(tmp_path / "indexes"))
    videos, listing = listed(path, gzip_indexes=indexes if has_index else None)
    assert {video.video_id: video.ground_truth for video in videos}[f"{name}/9.mp4"] == "archery"
    assert dict(listing.skipped) == {}
    assert contents(reversed(videos)) == expected(name, BIG)
    if has_index:
        (index,) = (tmp_path / "indexes").iterdir()
        assert index.stat().st_size < 0.02 * path.stat().st_size
        assert all(video.part.endswith(f"@{index}") for video in videos)
        index.unlink()
        assert contents(videos[:2]) == {key: contents(videos)[key] for key in contents(videos[:2])}


def test_a_gzipped_object_is_read_once_and_then_by_ranges(tmp_path, storage: Storage):
    path = gzipped(tmp_path / "a.tar.gz", BIG)
    size = path.stat().st_size
    storage.objects["/bucket/a.tar.gz"] = path.read_bytes()
    (tmp_path / "list.txt").write_text("s3://bucket/a.tar.gz\n")
    videos, _ = listed(tmp_path / "list.txt", gzip_indexes=Location(str(tmp_path / "indexes")))
    assert len(videos) == 12
    assert storage.sent <= 1.05 * size
    requests, sent = len(storage.ranges), storage.sent
    assert contents(reversed(videos)) == expected("s3://bucket/a.tar.gz", BIG)
    assert len(storage.ranges) - requests == len(videos)
    assert storage.sent - sent < len(videos) * (1_500_000 + 3 * SPACING_BYTES // 2)
    assert set(storage.conditions[requests:]) == {storage.etag}


def cut(data):
    return data[: len(data) // 2]


def wrong(data):
    """Other bytes in the middle: of videos, which cannot be compressed, only checksums tell."""
    middle = len(data) // 2
    return data[:middle] + bytes(range(100)) + data[middle + 100 :]


def broken(data):
    """Other bytes over more than a block of what was not compressed: unpacking itself fails."""
    middle = len(data) // 2
    return data[:middle] + b"\xff" * 70_000 + data[middle + 70_000 :]


@pytest.mark.parametrize("damage", [cut, wrong, broken])
def test_a_damaged_gzip_has_its_whole_members_and_one_row_for_the_rest(damage, tmp_path):
    path = gzipped(tmp_path / "a.tar.gz", BIG)
    path.write_bytes(damage(path.read_bytes()))
    *whole, rest = listed(path, gzip_indexes=Location(str(tmp_path / "indexes")))[0]
    failure = refusal(rest.part)
    assert failure is not None
    assert (rest.video_id, failure.error_type) == ("a.tar.gz", ErrorType.corrupt)
    assert len(whole) >= 5
    read = contents(whole[:5])
    assert read.items() <= expected("a.tar.gz", BIG).items()


def test_a_gzip_that_is_broken_from_its_start_on_is_refused_by_name(tmp_path):
    path = gzipped(tmp_path / "a.tar.gz", BIG)
    data = path.read_bytes()
    path.write_bytes(data[:20] + b"\xff" * 70_000 + data[70_020:])
    with pytest.raises(UsageError, match=r"cannot read .*a\.tar\.gz: the gzip file is damaged"):
        listed(path)


@pytest.mark.parametrize(("damage", "times"), [(cut, 1), (broken, 2)])
def test_an_archive_is_unpacked_finely_only_where_nothing_came_out(
    damage, times, tmp_path, monkeypatch
):
    """The index of a large archive with fine spacing would fill the memory."""
    path = gzipped(tmp_path / "a.tar.gz", {"a.mp4": os.urandom(6_000_000)})
    path.write_bytes(damage(path.read_bytes()))
    spacings = []

    def spied(*arguments, spacing):
        spacings.append(spacing)
        return gzip_part.unpacked(*arguments, spacing=spacing)

    monkeypatch.setattr(tar_index, "unpacked", spied)
    with pytest.raises(UsageError):
        listed(path)
    assert len(spacings) == times


def test_a_place_far_within_a_damaged_gzip_is_not_unpacked_finely(tmp_path, monkeypatch):
    path = gzipped(tmp_path / "a.tar.gz", {"a.mp4": os.urandom(6_000_000)})
    path.write_bytes(broken(path.read_bytes()))
    with open_source(str(path)) as whole:
        assert GzipContent(whole, b"", 0, 512).read_at(0, 512)
        monkeypatch.setattr(gzip_part, "_MOST_FINE_BYTES", 0)
        content = GzipContent(whole, b"", 0, 512)
        assert content.read_at(0, 512) == b""
    assert content.failure.error_type is ErrorType.corrupt


def test_a_code_of_damage_is_no_failure_of_the_storage():
    """indexed_gzip returned -4 as a number of bytes."""
    error = OSError("raw readinto() returned invalid length -4 (should have been between 0 and 9)")
    assert failure_of(error).error_type is ErrorType.corrupt
    assert failure_of(OSError(5, "Input/output error")).error_type is ErrorType.unavailable


def test_what_unpacks_without_end_is_given_up(tmp_path):
    path = tmp_path / "a.tar.gz"
    by_python(tmp_path / "a.tar", {"a.mp4": b"x"})
    head = (tmp_path / "a.tar").read_bytes()[:1024]
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(head)
        info = tarfile.TarInfo("huge.mp4")
        info.size = 1 << 40
        file.write(info.tobuf(tarfile.GNU_FORMAT))
    (video, rest), _ = listed(path)
    assert video.video_id == "a.tar.gz/a.mp4"
    assert "unpacks to more than" in refusal(rest.part).message
