"""One open and one reading of a small file, shared memory that is used again: the same frames."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import videos
from tests.workers.decoding.test_frames import CASES
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit, pyav
from workers.decoding import demuxer as demuxer
from workers.decoding.job import DecodeJob
from workers.decoding.shared_memory import SharedFrames
from workers.io.fetching import anonymous_file, open_source
from workers.sampling import Protocol, protocol

PROTOCOL = protocol("videomae-k400", size=56)


def decode(path: Path) -> tuple[Any, np.ndarray]:
    """What is decoded in this process, and its frames."""
    rooms: list[np.ndarray] = []

    def allocate(shape: tuple[int, int, int, int]) -> np.ndarray:
        rooms.append(np.zeros(shape, dtype=np.uint8))
        return rooms[-1]

    with open_source(str(path)) as source:
        unit = Unit("unit", "video", str(path))
        decoded = pyav.decode(DecodeJob(source, unit, PROTOCOL, DecodeLimits(), allocate))
    return decoded, rooms[-1]


@pytest.mark.parametrize("name", CASES)
def test_a_file_too_large_to_be_kept_gives_the_frames_of_one_that_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = videos.write_video(tmp_path / name, **CASES[name])
    kept, frames = decode(path)
    monkeypatch.setattr(demuxer, "KEPT_BYTES", 0)
    again, read_again = decode(path)
    assert np.array_equal(frames, read_again)
    assert kept.report() == again.report()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mpg"])
def test_a_small_video_is_opened_and_read_once_whatever_its_container(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = {"avi": "mpeg4", "mpg": "mpeg2video"}.get(name[2:], "libx264")
    path = videos.write_video(tmp_path / name, codec=codec)
    opened: list[int] = []
    plain = demuxer.opened_video
    monkeypatch.setattr(
        demuxer,
        "opened_video",
        lambda source, *given, **more: opened.append(source.size) or plain(source, *given, **more),
    )
    decoded, _ = decode(path)
    assert decoded.frame_count == len(videos.sequential_frames(path))
    assert opened == [path.stat().st_size]


def test_a_damaged_video_is_decoded_afresh_after_its_plan_has_failed(tmp_path: Path) -> None:
    whole = videos.write_video(tmp_path / "whole.mp4", frames=120, options={"g": "20"})
    path = videos.damaged(whole, tmp_path / "damaged.mp4", start=0.5, stop=0.55)
    reference = videos.sequential_frames(path)
    decoded, frames = decode(path)
    assert decoded.lost_frames > 0
    assert decoded.frame_count == len(reference)
    height, width = PROTOCOL.resized(*reference[0].shape[:2])
    clips = PROTOCOL.clip_indices(len(reference))
    for index, row in zip(clips.ravel(), decoded.clip_frames.ravel(), strict=True):
        assert np.array_equal(frames[row], videos.resize(reference[index], height, width))


def test_units_of_all_sizes_in_turn_do_not_disturb_each_other(tmp_path: Path) -> None:
    large = Protocol("videomae-k400", clips=7, crops=3, size=448)
    paths = [
        videos.write_video(tmp_path / f"{frames}.mp4", frames=frames, codec="mpeg4")
        for frames in (8, 400, 40, 400, 8, 40)
    ]
    with SandboxedDecoder(large) as decoder:
        results = [decoder.decode(Unit("unit", "video", str(path))) for path in paths]
    sizes = []
    for path, result in zip(paths, results, strict=True):
        assert isinstance(result, DecodedUnit)
        sizes.append(result.frames.nbytes)
        reference = videos.sequential_frames(path)
        height, width = large.resized(*reference[0].shape[:2])
        for index, row in zip(
            large.clip_indices(len(reference)).ravel(), result.clip_frames.ravel(), strict=True
        ):
            assert np.array_equal(
                result.frames[row], videos.resize(reference[index], height, width)
            )
    assert max(sizes) > 64 << 20 > min(sizes), "both memory that is kept and memory that is not"


def test_less_memory_than_a_child_announces_is_an_error_and_no_fault() -> None:
    descriptor = anonymous_file(in_memory=True)
    try:
        child, parent = SharedFrames(descriptor), SharedFrames(descriptor)
        child.allocate((1, 8, 8, 3))[...] = 7
        assert (parent.taken((1, 8, 8, 3)) == 7).all()
        with pytest.raises(EOFError, match="shorter than"):
            parent.taken((1000, 8, 8, 3))
    finally:
        os.close(descriptor)
