"""Nothing in an archive leads a listing elsewhere, stops it, or costs another member its row."""

import contextlib
import io
import os
import random
import subprocess
import tarfile
import time

import pytest

from pipeline.inputs.listing import Listing
from pipeline.inputs.tar_headers import DamagedArchiveError, members
from tests.tars import PYTHON_FORMATS, by_python
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.io.parts import refusal

GOOD = {f"{number}.mp4": bytes([number]) * (100 * number + 1) for number in range(1, 6)}


class Memory:
    """An archive in memory that counts what is read of it."""

    def __init__(self, data):
        self.data, self.read = data, 0

    def reaches(self, end):
        return end <= len(self.data)

    def read_at(self, offset, count):
        found = self.data[offset : offset + count]
        self.read += len(found)
        return found


def listed(path, **settings):
    listing = Listing(str(path), **settings)
    return list(listing.videos()), listing


def rows(path):
    """Content of each member, or the failure that its row gets, by its name."""
    found = {}
    for video in listed(path)[0]:
        name = video.video_id.removeprefix(f"{os.path.basename(path)}/")
        try:
            with open_source(video.uri, part=video.part, etag=video.etag) as source:
                found[name] = source.read_at(0, source.size)
        except UnitFailure as failure:
            found[name] = failure
    return found


def with_entry(path, kind, name, *, target="", size=0):
    """An archive with a member of some kind between good ones."""
    with tarfile.open(path, "w") as archive:
        for before, content in GOOD.items():
            if before == "3.mp4":
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.size = kind, target, size
                archive.addfile(info, io.BytesIO(b"x" * size) if size else None)
            info = tarfile.TarInfo(before)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


SPECIAL = {
    "symbolic": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret.mp4", "1.mp4", "bad.mp4"])
def test_links_and_devices_are_rows_and_never_followed(kind, target, tmp_path):
    path = with_entry(tmp_path / "a.tar", SPECIAL[kind], "bad.mp4", target=target)
    found = rows(path)
    failure = found.pop("bad.mp4")
    assert found == GOOD
    assert failure.error_type is ErrorType.not_video
    assert "is not read" in failure.message


@pytest.mark.parametrize(
    "name",
    ["../x.mp4", "/x.mp4", "a/../../x.mp4", "a/../x.mp4", "/etc/../x.mp4", "//x.mp4", "./../x.mp4"],
)
def test_names_that_leave_the_folder_are_rows(name, tmp_path):
    path = with_entry(tmp_path / "a.tar", tarfile.REGTYPE, name, size=7)
    found = rows(path)
    (bad,) = set(found) - set(GOOD)
    assert found[bad].error_type is ErrorType.not_video
    assert "leads out of" in found[bad].message
    assert {name: found[name] for name in GOOD} == GOOD


def test_names_of_any_bytes_have_ids_of_their_own(tmp_path):
    names = [
        "a\\xe9.mp4",
        "a\udce9.mp4",
        "\x1b[2J.mp4",
        "a\nb.mp4",
        "käse.mp4",
        "k" * 9000 + ".mp4",
    ]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    videos, _ = listed(path)
    ids = {video.video_id for video in videos}
    assert len(ids) == len(names)
    assert all(name.encode() and len(name) < 5000 for name in ids)


def test_a_name_that_stands_twice_is_two_videos(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for content in (b"one", b"two", b"three"):
            for name in ("a.mp4", "a#2.mp4"):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    found = rows(path)
    assert len(found) == 6
    assert found["a.mp4"] == b"one"
    assert sorted(found.values()) == sorted([b"one", b"two", b"three"] * 2)


def test_hidden_members_and_companions_of_macos_are_left_out(tmp_path):
    more = {"._1.mp4": b"x", ".hidden.mp4": b"x", "__MACOSX/1.mp4": b"x", ".git/1.mp4": b"x"}
    path = by_python(tmp_path / "a.tar", GOOD | more)
    assert rows(path) == GOOD
    assert sum(listed(path)[1].skipped.values()) == len(more)


@pytest.mark.parametrize("kind", ["oldgnu", "gnu", "posix"])
@pytest.mark.parametrize("holes", [1, 40])
def test_a_sparse_member_is_a_row(kind, holes, tmp_path):
    for name, content in GOOD.items():
        (tmp_path / name).write_bytes(content)
    with open(tmp_path / "s.mp4", "wb") as file:
        for number in range(holes):
            file.seek((number + 1) << 20)
            file.write(b"data")
    path = tmp_path / "a.tar"
    names = ["1.mp4", "2.mp4", "s.mp4", "3.mp4", "4.mp4", "5.mp4"]
    command = ["tar", "-S", f"--format={kind}", "-C", str(tmp_path), "-cf", str(path), *names]
    subprocess.run(command, check=True)
    assert path.stat().st_size < 1 << 20
    found = rows(path)
    failure = found.pop("s.mp4")
    assert found == GOOD
    assert failure.error_type is ErrorType.not_video
    assert "sparse" in failure.message


@pytest.mark.parametrize("kind", PYTHON_FORMATS)
def test_an_archive_cut_anywhere_lists_its_whole_members_and_one_row_for_the_rest(kind, tmp_path):
    good = GOOD | ({"long/" * 30 + "6.mp4": b"long"} if kind != "ustar" else {})
    whole = by_python(tmp_path / "a.tar", good, PYTHON_FORMATS[kind]).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    ends = {member.name: member.offset + member.size for member in members(Memory(whole))}
    for cut in range(0, end + 512, 97):
        found = []
        with pytest.raises(DamagedArchiveError):
            found.extend(member.name for member in members(Memory(whole[:cut])))
        assert found == [name for name, end in ends.items() if end <= cut]


def test_a_cut_archive_has_one_row_more(tmp_path):
    path = by_python(tmp_path / "a.tar", GOOD)
    path.write_bytes(path.read_bytes()[:2600])
    videos, _ = listed(path)
    *whole, rest = videos
    assert [video.video_id for video in whole] == ["a.tar/1.mp4", "a.tar/2.mp4"]
    assert rest.video_id == "a.tar"
    failure = refusal(rest.part)
    assert failure.error_type is ErrorType.corrupt
    assert "2 videos before that are listed" in failure.message


def test_zeros_in_the_middle_of_an_archive_are_no_silent_end(tmp_path):
    path = by_python(tmp_path / "a.tar", GOOD | {"big.mp4": bytes(3 << 20)})
    data = bytearray(path.read_bytes())
    data[2 * 512 : 4 * 512] = bytes(1024)
    path.write_bytes(data)
    *_, rest = listed(path)[0]
    assert refusal(rest.part).error_type is ErrorType.corrupt


def test_damaged_headers_never_crash_and_what_came_before_is_listed(tmp_path):
    numbers = random.Random(7)
    whole = by_python(tmp_path / "a.tar", GOOD, tarfile.PAX_FORMAT).read_bytes()
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(numbers.choice((1, 1, 4, 64))):
            data[numbers.randrange(len(data))] = numbers.randrange(256)
        with contextlib.suppress(DamagedArchiveError):
            for each in members(Memory(bytes(data))):
                assert each.offset + each.size <= len(data)


def _header(name, size_field, kind=b"0"):
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size_field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "size_field", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"77777777777\0", b"9999\0" + bytes(7)]
)
@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g", b"K", b"S"])
def test_sizes_beyond_the_archive_cost_no_memory_and_no_time(size_field, kind):
    memory = Memory(_header("a.mp4", size_field, kind) + bytes(4096))
    began = time.monotonic()
    with pytest.raises(DamagedArchiveError):
        list(members(memory))
    assert memory.read < 10_000
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "record",
    [b"0 a=b\n", b"99 path=x\n", b"x", b"12 size=-1\n\n", b"13 size=9e99\n", b"6 =ab\n", b"5 ab\n"],
)
def test_wrong_attributes_are_damage(record):
    head = _header("h", b"%011o\0" % len(record), b"x")
    data = head + record.ljust(512, b"\0") + _header("a.mp4", b"%011o\0" % 1) + b"x".ljust(512)
    with pytest.raises(DamagedArchiveError):
        list(members(Memory(data + bytes(1024))))


def test_many_members_of_one_name_take_no_longer_than_others(tmp_path):
    blocks = _header("a.mp4", b"%011o\0" % 1) + b"x".ljust(512, b"\0")
    path = tmp_path / "a.tar"
    path.write_bytes(blocks * 5000 + bytes(1024))
    began = time.monotonic()
    assert len({video.video_id for video in listed(path)[0]}) == 5000
    assert time.monotonic() - began < 10
