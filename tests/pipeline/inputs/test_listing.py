"""Listing: every video once, in a fixed order; everything else counted or refused."""

import gzip
import io
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.listing import Listing
from pipeline.storage.location import Location
from tests.object_storage import KEY_NAMES, free_port
from workers.io.fetching import open_source


def found(source):
    listing = Listing(str(source))
    return list(listing.videos()), listing.skipped


def touch(path, size=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x80" * size)


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
    for name in ("a.mp4", "b.txt", "c.txt", "noext"):
        touch(tmp_path / name)
    videos, skipped = found(tmp_path)
    assert len(videos) == 1
    assert skipped == {".txt": 2, "without extension": 1}


LEFT_OUT = {
    "._a.mp4": "macOS companions (._*)",
    ".hidden.mp4": "hidden",
    "empty.mp4": "empty",
    "__MACOSX/a.mp4": "__MACOSX folders",
    "sub/@eaDir/a.mp4/x.mp4": "@eaDir folders",
    "$recycle.bin/a.mp4": "$RECYCLE.BIN folders",
    "System Volume Information/a.mp4": "System Volume Information folders",
    "lost+found/a.mp4": "lost+found folders",
    ".Trash-1000/files/a.mp4": "hidden folders",
    ".Trash-1000/files/b.mp4": "hidden folders",
    ".git/a.mp4": "hidden folders",
    "notes.txt": ".txt",
    "a.mp4/in a folder.mp4": None,
    "a..b.mp4": None,
}
COUNTED = Counter(filter(None, LEFT_OUT.values())) - Counter(["hidden folders"])


@pytest.mark.parametrize("all_files", [False, True])
def test_what_systems_leave_among_videos_is_left_out_and_counted_by_its_reason(tmp_path, all_files):
    for name in LEFT_OUT:
        touch(tmp_path / name, size=0 if name == "empty.mp4" else 1)
    listing = Listing(str(tmp_path), all_files=all_files)
    taken = {video.video_id for video in listing.videos()}
    kept = {name for name, reason in LEFT_OUT.items() if reason is None}
    assert taken == kept | ({"notes.txt"} if all_files else set())
    assert listing.skipped == COUNTED - Counter([".txt"] if all_files else [])


def test_a_hidden_folder_or_file_that_is_named_itself_is_taken(tmp_path):
    touch(tmp_path / ".archive" / "a.mp4")
    touch(tmp_path / ".archive" / ".b.mp4")
    assert [video.video_id for video in found(tmp_path / ".archive")[0]] == ["a.mp4"]
    assert [v.video_id for v in found(tmp_path / ".archive" / ".b.mp4")[0]] == [".b.mp4"]


def test_a_list_keeps_what_it_names(tmp_path):
    touch(tmp_path / "._a.mp4")
    touch(tmp_path / "empty.mp4", size=0)
    (tmp_path / "list.txt").write_text("._a.mp4\nempty.mp4\n")
    assert [video.video_id for video in found(tmp_path / "list.txt")[0]] == ["._a.mp4", "empty.mp4"]


def test_one_file_is_one_video_whatever_its_name(tmp_path):
    touch(tmp_path / "clip.bin", size=7)
    videos, _ = found(tmp_path / "clip.bin")
    assert [(v.video_id, v.size_bytes, v.etag) for v in videos] == [("clip.bin", 7, None)]


def test_a_name_that_is_no_unicode_is_listed_in_a_way_that_tables_hold(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9 #1.mp4")).write_bytes(b"x")
    ((video,), _) = found(tmp_path)
    assert video.video_id == "./caf\\xe9 #1.mp4"
    assert video.uri == f"file://{tmp_path}/caf%E9%20%231.mp4"
    assert video.size_bytes == 1


def test_progress_is_reported_while_listing(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inputs.listing._REPORT_SECONDS", 0.0)
    for name in ("a.mp4", "b.mp4", "c.txt", "d.mp4"):
        touch(tmp_path / name)
    counts = []
    list(Listing(str(tmp_path), report=counts.append).videos())
    assert counts == [1, 2, 2, 3]


def test_a_broken_link_is_listed_so_that_it_gets_its_row(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    videos, _ = found(tmp_path)
    assert [(v.video_id, v.size_bytes) for v in videos] == [("gone.mp4", None)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "there is no nowhere"),
        ("nowhere.csv", "there is no .*nowhere.csv"),
        ("s3://", "names no bucket"),
        ("s3://AKIA:hidden@bucket/x", "must not contain credentials"),
        ("hdfs://host/x", "hdfs:// addresses cannot be read; name a path, file:///path, s3://"),
        ("C:\\videos", "is a Windows path"),
        ("/dev/null", "is a pipe, socket or device; name a file or directory"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_one_line(source, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        found(source)


@pytest.fixture(scope="module")
def many(object_storage):
    """A bucket with more objects than a page of the listing has."""
    s3 = object_storage.client()
    s3.create_bucket(Bucket="many")
    with ThreadPoolExecutor(8) as pool:
        keys = [f"day/{number:04d}.mp4" for number in range(1100)]
        list(pool.map(lambda key: s3.put_object(Bucket="many", Key=key, Body=b"x"), keys))
    s3.put_object(Bucket="many", Key="day/notes.txt", Body=b"x")
    s3.put_object(Bucket="many", Key="day/sub/", Body=b"")
    s3.put_object(Bucket="many", Key="day2/other.mp4", Body=b"x")
    return s3


def test_object_storage_is_listed_past_a_thousand_keys(many, s3):
    videos, skipped = found("s3://many/day/")
    assert len(videos) == 1100
    assert videos[-1].video_id == "1099.mp4"
    assert videos[-1].uri == "s3://many/day/1099.mp4"
    assert videos[-1].etag == s3.head_object(Bucket="many", Key="day/1099.mp4")["ETag"]
    assert skipped == {".txt": 1}


def test_one_object_and_a_manifest_in_object_storage(s3):
    s3.create_bucket(Bucket="few")
    s3.put_object(Bucket="few", Key="x/one.mp4", Body=b"abc")
    s3.put_object(Bucket="few", Key="x/list.csv", Body=b"uri\none.mp4\n")
    assert [(v.video_id, v.size_bytes) for v in found("s3://few/x/one.mp4")[0]] == [("one.mp4", 3)]
    assert [v.uri for v in found("s3://few/x/list.csv")[0]] == ["s3://few/x/one.mp4"]


@pytest.mark.parametrize("all_files", [False, True])
def test_a_prefix_leaves_out_what_a_directory_does(s3, all_files):
    bucket = f"left-out-{all_files}".lower()
    s3.create_bucket(Bucket=bucket)
    for name in LEFT_OUT:
        body = b"" if name == "empty.mp4" else b"\x80"
        s3.put_object(Bucket=bucket, Key=f".in/{name}", Body=body)
    listing = Listing(f"s3://{bucket}/.in", all_files=all_files)
    taken = {video.video_id for video in listing.videos()}
    kept = {name for name, reason in LEFT_OUT.items() if reason is None}
    assert taken == kept | ({"notes.txt"} if all_files else set())
    assert listing.skipped == COUNTED - Counter([".txt"] if all_files else [])


def test_a_prefix_of_parquet_files_is_one_list_whatever_its_name(s3):
    s3.create_bucket(Bucket="tables")
    for number in range(2):
        sink = io.BytesIO()
        pq.write_table(pa.table({"uri": [f"{number}.mp4"]}), sink)
        key = f"list.parquet/part-{number}.parquet"
        s3.put_object(Bucket="tables", Key=key, Body=sink.getvalue())
    videos, skipped = found("s3://tables/list.parquet")
    assert [video.uri for video in videos] == [f"s3://tables/list.parquet/{n}.mp4" for n in (0, 1)]
    assert not skipped


def test_a_text_object_without_an_extension_is_a_list(s3):
    s3.create_bucket(Bucket="texts")
    s3.put_object(Bucket="texts", Key="x/k400_val", Body=b"one.mp4 3\n")
    s3.put_object(Bucket="texts", Key="x/l.txt.gz", Body=gzip.compress(b"one.mp4 3\n"))
    for name in ("k400_val", "l.txt.gz"):
        ((video,), _) = found(f"s3a://texts/x/{name}")
        assert (video.uri, video.ground_truth) == ("s3://texts/x/one.mp4", "3")
    with pytest.raises(UsageError, match="there is no s3://texts/absent.csv"):
        found("s3://texts/absent.csv")


@pytest.mark.parametrize("key", ["a b", "50%", "50%20", "#1", "x?y=1", "ü+ö", "a@b:c"])
def test_unusual_keys_are_listed_and_read_as_they_are(s3, key):
    s3.create_bucket(Bucket="unusual")
    s3.put_object(Bucket="unusual", Key=f"{key}/{key}.mp4", Body=b"abc")
    s3.put_object(Bucket="unusual", Key=f"{key}/list {key}.jsonl", Body=b'{"uri": "b.mp4"}')
    ((video,), _) = found(f"s3://unusual/{key}")
    assert (video.video_id, video.uri) == (f"{key}.mp4", f"s3://unusual/{key}/{key}.mp4")
    assert Location(video.uri).read_bytes() == b"abc"
    ((given,), _) = found(f"s3://unusual/{key}/list {key}.jsonl")
    assert given.uri == f"s3://unusual/{key}/b.mp4"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["busy", "cut"])
@pytest.mark.parametrize("page", ["first", "later"])
def test_answers_that_are_refused_or_cut_off_cost_a_listing_nothing(many, unreliable_s3, how, page):
    unreliable_s3.spoil_first(2, how, holding="continuation-token" if page == "later" else "list")
    videos, _ = found("s3://many/day")
    assert len({video.uri for video in videos}) == len(videos) == 1100
    # A HEAD request tells the marker day/sub/ from an empty file. After a page that was cut off the
    # rest is asked for by name, which is not spoilt.
    asked = [method for method, _ in unreliable_s3.requests].count("GET")
    assert asked == (3 if (page, how) == ("later", "cut") else 4)


@pytest.mark.slow
def test_a_storage_that_is_gone_for_a_while_is_waited_for_in_the_middle(many, object_storage, s3):
    videos = Listing("s3://many/day").videos()
    listed = [next(videos)]
    object_storage.stop()
    back = threading.Timer(5, object_storage.start)
    back.start()
    try:
        listed.extend(videos)
    finally:
        back.join()
    assert len(listed) == 1100


def test_a_storage_that_is_not_there_is_said_at_once(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        UsageError, match=r"cannot list s3://any/x: the storage at [\w.:]+ cannot be reached"
    ):
        found("s3://any/x")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", "the storage does not know the access key"),
        ("AWS_SECRET_ACCESS_KEY", "mine", "the secret key does not match the access key"),
    ],
)
def test_wrong_keys_are_refused_in_one_line_without_them(many, s3, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    for source in ("s3://many/day", "s3://many/day/l.csv"):
        with pytest.raises(UsageError, match=said) as refused:
            found(source)
        assert value not in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_bucket_of_others_is_refused_in_one_line(s3, object_storage, monkeypatch):
    s3.create_bucket(Bucket="ours")
    for name, value in zip(KEY_NAMES, object_storage.stranger(), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="cannot list s3://ours/x: access denied"):
        found("s3://ours/x")


def test_a_bucket_that_is_not_there_is_refused_in_one_line(s3):
    with pytest.raises(UsageError, match="cannot list s3://absent/x: there is no such bucket"):
        found("s3://absent/x")


UNUSUAL = ["a//b.mp4", "d/./e.mp4", "../f.mp4", "tab\tx.mp4", "/lead.mp4", "x/", "x/y/", "z.mp4"]


def test_keys_that_are_no_paths_are_listed_and_read_too(s3):
    s3.create_bucket(Bucket="no-paths")
    for key in UNUSUAL:
        s3.put_object(Bucket="no-paths", Key=key, Body=key.encode() if key[-1] != "/" else b"")
    videos, skipped = found("s3://no-paths")
    uris = {f"s3://no-paths/{key}" for key in UNUSUAL if key[-1] != "/"}
    assert {video.uri for video in videos} == {uri for uri in uris if "/." not in uri}
    assert skipped == {"hidden folders": 2}
    for uri in uris:
        with open_source(uri) as source:
            assert source.head(100).decode() == uri.removeprefix("s3://no-paths/")
        assert [video.uri for video in found(uri)[0]] == [uri]
