"""Braces and `*` in an INPUT and in the uris of a list."""

import os
import subprocess

import pytest

from pipeline.errors import UsageError
from pipeline.inputs.left_out import LINKS_OUT, LINKS_TWICE
from pipeline.inputs.listing import Listing
from pipeline.inputs.patterns import braces
from tests.tars import by_python

TREE = [
    "a.mp4", "b.mp4", "shard-008.tar", "shard-009.tar", "shard-010.tar", "notes.txt",
    "day-1/x.mp4", "day-1/deep/y.mp4", "day-2/x.mp4", ".hidden/z.mp4", "day-1/.hidden.mp4",
]  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if path.suffix == ".tar":
            by_python(path, {"m.mp4": b"m"})
        else:
            path.write_bytes(b"\x80")
    return tmp_path


def ids(source, **settings):
    listing = Listing(str(source), **settings)
    return [video.video_id for video in listing.videos()], listing


@pytest.mark.parametrize(
    "text",
    [
        "a", "{a,b}", "x{a,b}y{1..3}", "{08..11}", "{8..11}", "{a..e}", "{e..a}", "{1..9..3}",
        "{9..1..3}", "{a,{b,c}}d", "{a,b{1..2}}", "{-1..1}", "x{,a}", "{a}", "{}", "a{b",
        "{000..003}.tar", "{a,b}{", "{a,b}{c,d}{e,f}",
    ],
)  # fmt: skip
def test_braces_stand_for_what_bash_makes_of_them(text):
    shell = subprocess.run(["bash", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True)
    assert braces(text) == shell.stdout.removesuffix("\n").split("\n")


PATTERNS = {
    "*.mp4": ["a.mp4", "b.mp4"],
    "shard-{008..010}.tar": ["shard-008.tar/m.mp4", "shard-009.tar/m.mp4", "shard-010.tar/m.mp4"],
    "shard-00?.tar": ["shard-008.tar/m.mp4", "shard-009.tar/m.mp4"],
    "shard-*[!9].tar": ["shard-008.tar/m.mp4", "shard-010.tar/m.mp4"],
    "day-{1,2}": ["day-1/x.mp4", "day-1/deep/y.mp4", "day-2/x.mp4"],
    "day-*/x.mp4": ["day-1/x.mp4", "day-2/x.mp4"],
    "**/x.mp4": ["day-1/x.mp4", "day-2/x.mp4"],
    "**/*.mp4": ["a.mp4", "b.mp4", "day-1/x.mp4", "day-1/deep/y.mp4", "day-2/x.mp4"],
    "{b,a}.mp4": ["b.mp4", "a.mp4"],
    "day-1/*": ["day-1/x.mp4", "day-1/deep/y.mp4"],
    "*": [
        "a.mp4", "b.mp4", "shard-008.tar/m.mp4", "shard-009.tar/m.mp4", "shard-010.tar/m.mp4",
        "day-1/x.mp4", "day-1/deep/y.mp4", "day-2/x.mp4",
    ],
}  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_stands_for_files_and_for_what_is_in_folders(pattern, tree):
    found, _ = ids(tree / pattern)
    below = "day-1/" if pattern == "day-1/*" else ""
    assert sorted(below + each for each in found) == sorted(PATTERNS[pattern])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_objects_match_as_files_do(pattern, tree, s3):
    bucket = "patterns"
    s3.create_bucket(Bucket=bucket)
    for name in TREE:
        s3.upload_file(str(tree / name), bucket, f"in/{name}")
    assert sorted(ids(f"s3://{bucket}/in/{pattern}")[0]) == sorted(ids(tree / pattern)[0])


@pytest.mark.parametrize("name", ["{a,b}.mp4", "*.mp4", "x[1].mp4", "what?.mp4", "{1..3}.mp4"])
def test_a_real_name_wins_over_the_pattern(name, tree):
    (tree / name).write_bytes(b"\x80")
    assert ids(tree / name)[0] == [name]
    (tree / "list.txt").write_text(f'"{name}"\n')
    assert ids(tree / "list.txt")[0] == [name]


@pytest.mark.parametrize("pattern", ["*.mkv", "none/*", "**/none.mp4", "none-?.mp4"])
def test_a_pattern_that_matches_nothing_is_refused(pattern, tree):
    with pytest.raises(UsageError, match="nothing matches") as refused:
        ids(tree / pattern)
    assert str(tree / pattern) in str(refused.value)


def test_missing_shards_are_named_before_the_first_video(tree):
    listing = Listing(str(tree / "shard-{007..013}.tar"))
    with pytest.raises(
        UsageError, match="4 of 7 are missing: .*shard-007.tar, .*012.tar, ..."
    ) as e:
        next(listing.videos())
    assert "shard-008.tar" not in str(e.value)
    with pytest.raises(UsageError, match="1 of 2 are missing: .*none"):
        ids(tree / "{day,none}-*")


def test_a_range_without_end_is_refused_at_once():
    for text in ("{0..99999999999}", "{0..999}{0..999}{0..999}"):
        with pytest.raises(UsageError, match="more than 1,000,000"):
            braces(text)


def test_links_that_a_pattern_finds_stay_within_its_folder(tree, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.mp4"
    outside.write_bytes(b"\x80")
    os.symlink(outside, tree / "out.mp4")
    os.symlink(tree / "a.mp4", tree / "twice.mp4")
    found, listing = ids(tree / "*.mp4")
    assert found == ["a.mp4", "b.mp4"]
    assert dict(listing.skipped) == {LINKS_OUT: 1, LINKS_TWICE: 1}
    assert ids(tree / "*.mp4", follow_links=True)[0] == ["a.mp4", "b.mp4", "out.mp4"]


def test_uris_of_a_list_may_be_patterns(tree):
    (tree / "list.csv").write_text(
        'uri,label,video_id\n"shard-{008..009}.tar",one,\nday-*/x.mp4,two,own\na.mp4,three,\n'
    )
    videos = list(Listing(str(tree / "list.csv")).videos())
    assert [(video.video_id, video.ground_truth) for video in videos] == [
        ("shard-008.tar/m.mp4", "one"),
        ("shard-009.tar/m.mp4", "one"),
        ("own/day-1/x.mp4", "two"),
        ("own/day-2/x.mp4", "two"),
        ("a.mp4", "three"),
    ]


def test_a_list_of_shards_needs_no_header(tree):
    (tree / "shards.txt").write_text("shard-008.tar\nshard-{009..010}.tar\n")
    assert len(ids(tree / "shards.txt")[0]) == 3
    (tree / "labels.txt").write_text("shard-008.tar 3\nshard-009.tar 4\n")
    videos = Listing(str(tree / "labels.txt")).videos()
    assert [video.ground_truth for video in videos] == ["3", "4"]


@pytest.mark.parametrize("uri", ["s3://{a,b}/x.tar", "s3://*/x.tar"])
def test_a_bucket_is_no_pattern(uri, storage):
    with pytest.raises(UsageError, match="name of a bucket"):
        ids(uri)
