"""No name, link or folder stops a listing, leads it elsewhere, or costs another file its row."""

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.left_out import (
    LINK_LOOPS,
    LINKS_OUT,
    LINKS_TWICE,
    MAX_KINDS,
    OTHER_KINDS,
    SPECIAL,
    UNREADABLE,
)
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import count_rows, write_manifest
from pipeline.labeling.flags import parser
from pipeline.labeling.job import options_from
from pipeline.storage.addresses import local_path
from pipeline.storage.location import Location
from tests.videos import write_video
from workers.decode_actor import DecodeActor
from workers.sampling import protocol

NOBODY = 65534


def touch(path, content=b"\x80"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def found(source, **settings):
    listing = Listing(str(source), **settings)
    return [video.video_id for video in listing.videos()], listing


@contextmanager
def unprivileged():
    """Takes root's right to read everything, if there is one."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public():
    """A folder that others than root can search."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


NAMES = [
    b"caf\xe9.mp4",
    b"caf\\xe9.mp4",
    b"./caf\\xe9.mp4",
    b"\xe9\\xe9.mp4",
    b"\\xe9\xe9.mp4",
    b"\xe9\xe9.mp4",
    b"\\xe9\\xe9.mp4",
    b"caf\xc3\xa9.mp4",
    b"cafe\xcc\x81.mp4",
    b"\xed\xb3\xa9.mp4",
    b"a\nb.mp4",
    b"a\\nb.mp4",
    b"\x1b[2J\x07\r.mp4",
    b"\xe2\x80\xae4pm.mp4",
    b"%E9.mp4",
    b"sub\xff/\xff.mp4",
    b"sub\\xff/\xff.mp4",
    b" .mp4",
    b"'; rm -rf x; '.mp4",
    b"x" * 251 + b".mp4",
]


def test_every_name_has_an_id_of_its_own_the_same_each_time_and_a_uri_that_opens_it(tmp_path):
    for number, name in enumerate(NAMES):
        touch(os.fsencode(tmp_path) + b"/" + name, bytes([number + 128]))
    wanted = {os.path.normpath(name) for name in NAMES}
    ids, listing = found(tmp_path)
    assert len(set(ids)) == len(ids) == len(wanted)
    assert not listing.skipped
    assert found(tmp_path)[0] == ids
    opened = {local_path(video.uri) for video in Listing(str(tmp_path)).videos()}
    assert {os.fsencode(os.path.relpath(path, tmp_path)) for path in opened} == wanted


def test_every_name_has_its_row_in_the_manifest(tmp_path):
    for name in NAMES:
        touch(os.fsencode(tmp_path) + b"/in/" + name)
    manifest = Location(str(tmp_path / "manifest"))
    written = write_manifest(Listing(str(tmp_path / "in")).videos(), manifest)
    assert written.videos == count_rows(manifest) == len({os.path.normpath(n) for n in NAMES})


def test_a_video_of_any_name_is_decoded_and_its_row_has_the_exact_name(tmp_path):
    write_video(tmp_path / "good.mp4", frames=20)
    names = NAMES[:8] + NAMES[10:14]
    for name in names:
        touch(os.fsencode(tmp_path) + b"/in/" + name, (tmp_path / "good.mp4").read_bytes())
    manifest = tmp_path / "manifest"
    write_manifest(Listing(str(tmp_path / "in")).videos(), Location(str(manifest)))
    actor = DecodeActor(protocol("videomae-k400", size=32, views=(1, 1)))
    try:
        rows = pa.concat_tables(actor(pq.read_table(manifest))).to_pylist()
    finally:
        actor.close()
    assert [row["error"] for row in rows if row["status"] != "ok"] == []
    wanted = {os.path.normpath(name) for name in names}
    opened = {local_path(row["uri"]) for row in rows}
    assert {os.fsencode(os.path.relpath(path, tmp_path / "in")) for path in opened} == wanted
    assert len({row["video_id"] for row in rows}) == len(wanted)


def test_a_name_that_is_no_unicode_is_told_by_its_first_bytes_too(tmp_path):
    touch(os.fsencode(tmp_path) + b"/\xe9.ts", b"export const answer = 42;\n" * 50)
    ids, listing = found(tmp_path)
    assert (ids, listing.skipped) == ([], {".ts (text)": 1})


def test_a_folder_that_cannot_be_read_costs_its_own_files_alone(public):
    touch(public / "a.mp4")
    touch(public / "closed" / "b.mp4")
    touch(public / "z" / "c.mp4")
    (public / "closed").chmod(0)
    with unprivileged():
        ids, listing = found(public)
    assert ids == ["a.mp4", "z/c.mp4"]
    assert (listing.skipped, listing.names) == ({UNREADABLE: 1}, {UNREADABLE: ["closed"]})
    assert listing.named() == "left out: 1 folder or link that cannot be read (closed)"


def test_a_folder_that_can_be_listed_but_not_searched_gives_rows_that_say_so(public):
    touch(public / "listed" / "b.mp4")
    (public / "listed").chmod(0o644)
    with unprivileged():
        videos = list(Listing(str(public)).videos())
    assert [(video.video_id, video.size_bytes) for video in videos] == [("listed/b.mp4", None)]


def test_an_input_that_cannot_be_read_itself_is_refused(public):
    (public / "closed").mkdir(mode=0)
    with unprivileged(), pytest.raises(UsageError, match="cannot list .*closed: Permission denied"):
        found(public / "closed")


def test_folders_within_folders_beyond_any_path_are_left_out(tmp_path):
    touch(tmp_path / "a.mp4")
    there = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(3000):
            os.mkdir("d", dir_fd=there)
            below = os.open("d", os.O_RDONLY, dir_fd=there)
            os.close(there)
            there = below
    finally:
        os.close(there)
    try:
        ids, listing = found(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # Python's cannot
    assert ids == ["a.mp4"]
    assert listing.skipped == {UNREADABLE: 1}
    assert len(listing.names[UNREADABLE][0]) < 300


@pytest.mark.parametrize("target", ["/", "/dev/fd", "/proc/self", "/dev/zero", "/etc/passwd", ".."])
def test_a_link_out_of_the_archive_is_counted_and_named_and_not_followed(tmp_path, target):
    touch(tmp_path / "outside.mp4")
    touch(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "link.mp4").symlink_to(target)
    ids, listing = found(tmp_path / "in")
    assert ids == ["a.mp4"]
    assert (listing.skipped, listing.names) == ({LINKS_OUT: 1}, {LINKS_OUT: ["link.mp4"]})
    assert "--follow-links" in listing.named()


def test_a_link_through_others_leads_where_they_lead(tmp_path):
    touch(tmp_path / "outside" / "secret.mp4")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to("b")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "outside")
    (tmp_path / "in" / "c.mp4").symlink_to("a/secret.mp4")
    (tmp_path / "in" / "d.mp4").symlink_to("../in/../outside/secret.mp4")
    (tmp_path / "in-truth").mkdir()
    (tmp_path / "in" / "e").symlink_to(tmp_path / "in-truth")
    ids, listing = found(tmp_path / "in")
    assert (ids, listing.skipped) == ([], {LINKS_OUT: 5})


def test_a_link_within_the_archive_does_not_list_a_file_twice(tmp_path):
    touch(tmp_path / "all" / "a.mp4")
    touch(tmp_path / "all" / "b.mp4")
    touch(tmp_path / ".git" / "annex" / "1.mp4")
    (tmp_path / "by-day").symlink_to("all")
    (tmp_path / "first.mp4").symlink_to("all/a.mp4")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "annexed.mp4").symlink_to(".git/annex/1.mp4")
    (tmp_path / "annexed-again.mp4").symlink_to(".git/annex/1.mp4")
    for settings in ({}, {"follow_links": True}):
        ids, listing = found(tmp_path, **settings)
        assert ids == ["annexed-again.mp4", "all/a.mp4", "all/b.mp4"]
        assert listing.skipped == {LINKS_TWICE: 4, "hidden folders": 1}


def test_links_to_themselves_and_to_nothing_end_nothing(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "one.mp4").symlink_to("two.mp4")
    (tmp_path / "two.mp4").symlink_to("one.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    ids, listing = found(tmp_path)
    assert ids == ["a.mp4", "gone.mp4"]
    assert listing.skipped == {LINK_LOOPS: 3}


def test_followed_links_list_each_file_once_and_end(tmp_path):
    touch(tmp_path / "in" / "a.mp4")
    touch(tmp_path / "other" / "b.mp4")
    touch(tmp_path / "other" / "deep" / "c.mp4")
    (tmp_path / "in" / "up").symlink_to("..")
    (tmp_path / "in" / "again").symlink_to("../other")
    (tmp_path / "in" / "z.mp4").symlink_to("../other/b.mp4")
    (tmp_path / "other" / "back").symlink_to("../in")
    ids, listing = found(tmp_path / "in", follow_links=True)
    assert ids == ["a.mp4", "z.mp4", "again/deep/c.mp4"]
    assert set(listing.skipped) == {LINKS_TWICE}


@pytest.mark.parametrize("target", ["/dev/fd", "/dev/zero", "/proc/self/fdinfo"])
def test_devices_behind_a_followed_link_do_not_stop_a_listing(tmp_path, target):
    touch(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to(target)
    ids, listing = found(tmp_path, follow_links=True)
    assert ids == ["a.mp4"]
    assert listing.skipped.total() > 0


def test_pipes_and_sockets_are_counted_and_not_opened(tmp_path):
    touch(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe.ts")
    for all_files in (False, True):
        ids, listing = found(tmp_path, all_files=all_files)
        assert (ids, listing.skipped) == (["a.mp4"], {SPECIAL: 2})


@pytest.mark.parametrize("text", ["a\0.mp4", "\ud800.mp4", "\udce9"])
@pytest.mark.parametrize("column", ["uri", "video_id", "label"])
def test_what_is_no_text_is_refused_with_its_row(tmp_path, column, text):
    rows = [{"uri": "a.mp4"}, {"uri": "b.mp4", column: text}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match="line 2: a cell is '") as refused:
        found(tmp_path / "list.jsonl")
    assert str(refused.value).isprintable()


def test_kinds_of_files_without_number_stay_a_few(tmp_path):
    for number in range(500):
        touch(tmp_path / f"x.{number}\x1b[31m")
    touch(tmp_path / "a.mp4")
    ids, listing = found(tmp_path)
    assert ids == ["a.mp4"]
    assert len(listing.skipped) == MAX_KINDS + 1
    assert listing.skipped.total() == 500
    assert listing.skipped[OTHER_KINDS] == 500 - MAX_KINDS


def test_an_input_of_links_alone_is_refused_with_what_to_do(tmp_path):
    touch(tmp_path / "blobs" / "1")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "a.mp4").symlink_to("../blobs/1")
    with pytest.raises(UsageError, match=r"it holds 1 link .* \(a.mp4\); --follow-links"):
        checked_input(Listing(str(tmp_path / "snapshot")), ["class"])
    checked_input(Listing(str(tmp_path / "snapshot"), follow_links=True), ["class"])
    ids, _ = found(tmp_path / "snapshot", follow_links=True)
    assert ids == ["a.mp4"]


def test_the_flag_reaches_the_options():
    words = ["in", "out", "--checkpoint", "demo"]
    asked = [options_from("k400", parser("k400").parse_args([*words, *more])).follow_links
             for more in ([], ["--follow-links"])]  # fmt: skip
    assert asked == [False, True]
