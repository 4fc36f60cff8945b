"""Parts: videos that lie within a file are read as if they were files of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import videos
from tests.scripted_storage import Storage
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.decoding.types import MIB
from workers.failures import ErrorType, UnitFailure
from workers.file_history import STRIKES, FileCost, FileHistory
from workers.io.fetching import open_source
from workers.io.parts import ByteRange, parse
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)


def archive(tmp_path: Path) -> tuple[Path, list[bytes], list[str]]:
    """A file that holds two videos one behind the other, and their parts."""
    contents = [
        videos.write_video(tmp_path / name, frames=frames).read_bytes()
        for frames, name in ((20, "a.mp4"), (31, "b.mp4"))
    ]
    path = tmp_path / "both.bin"
    path.write_bytes(b"head" + b"".join(contents))
    first = len(contents[0])
    return path, contents, [f"bytes:4+{first}", f"bytes:{4 + first}+{len(contents[1])}"]


def test_a_part_is_read_as_a_file_of_its_own(tmp_path: Path) -> None:
    path, contents, parts = archive(tmp_path)
    for part, content in zip(parts, contents, strict=True):
        with open_source(str(path), part=part) as source:
            assert source.size == len(content)
            assert source.read_at(0, 1 << 30) == content
            assert source.read_at(len(content) - 3, 10) == content[-3:]


@pytest.mark.parametrize("part", ["bytes:0+16", "bytes:1536+44032"])
def test_a_part_is_written_as_it_is_read(part: str) -> None:
    assert str(parse(part)) == part


@pytest.mark.parametrize("part", ["", "bytes", "bytes:", "bytes:1", "bytes:-1+2", "tape:3", "1+2"])
def test_a_wrong_part_is_named(part: str) -> None:
    with pytest.raises(UnitFailure, match="is wrong") as caught:
        parse(part)
    assert caught.value.error_type is ErrorType.internal
    assert repr(part) in caught.value.message


def test_a_part_beyond_its_file_is_corrupt_and_one_without_bytes_is_empty(tmp_path: Path) -> None:
    path, _, _ = archive(tmp_path)
    size = path.stat().st_size
    for part, reason in (
        (ByteRange(10, size - 5), ErrorType.corrupt),
        (ByteRange(10, 0), ErrorType.empty),
        (ByteRange(0, size), ErrorType.too_large),
    ):
        with (
            pytest.raises(UnitFailure) as caught,
            open_source(str(path), part=str(part), max_bytes=size - 1),
        ):
            pass
        assert caught.value.error_type is reason


def test_parts_of_files_and_objects_give_the_frames_of_single_files(
    tmp_path: Path, storage: Storage
) -> None:
    path, _, parts = archive(tmp_path)
    storage.objects["/bucket/both.bin"] = path.read_bytes()
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(small_memory_bytes=384 * MIB)) as decoder:
        for name, part in zip(("a.mp4", "b.mp4"), parts, strict=True):
            alone = decoder.decode(Unit("u", "v", str(tmp_path / name)))
            assert isinstance(alone, DecodedUnit), alone
            frames = alone.frames.copy()
            for uri in (str(path), "s3://bucket/both.bin"):
                found = decoder.decode(Unit("u", "v", uri, part=part))
                assert isinstance(found, DecodedUnit), found
                assert (found.frames == frames).all()
                assert found.bytes_read >= 0.9 * parse(part).size


def test_a_bad_part_does_not_count_against_the_others_of_its_file() -> None:
    history = FileHistory()
    bad, good = (Unit("u", "v", "shard.tar", part=f"bytes:{at}+5") for at in (0, 5))
    for number in range(STRIKES):
        history.begin(str(number), bad.file)
        history.end(str(number), bad.file, FileCost(ended=1))
    limits = DecodeLimits()
    assert history.begin("next", bad.file).refusal(limits, None) is not None
    assert history.begin("other", good.file).refusal(limits, None) is None
