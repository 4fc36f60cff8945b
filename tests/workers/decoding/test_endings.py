"""What headers claim about sizes, counts and durations changes nothing; what is cut off counts."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from workers.decoding import DecodeLimits, Unit, pyav
from workers.decoding.endings import Ending, segment_end
from workers.decoding.job import DecodeJob
from workers.decoding.result import Decoded
from workers.io.fetching import open_source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=32)
FRAMES = 120
LIES = (0, 1, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFE)


def decoded(path: Path) -> Decoded:
    with open_source(str(path)) as source:
        unit = Unit("u", "v", str(path))
        return pyav.decode(
            DecodeJob(source, unit, PROTOCOL, DecodeLimits(), lambda s: np.zeros(s, np.uint8))
        )


def written(path: Path) -> Path:
    codec = {".avi": "mpeg4", ".flv": "flv"}.get(path.suffix, "libx264")
    return videos.write_video(path, frames=FRAMES, codec=codec, width=64, height=48)


def patched(path: Path, at: int, field: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(field)] = field
    path.write_bytes(data)
    return path


def avi_fields(data: bytes) -> dict[str, int]:
    """Places of the sizes and counts in an AVI's headers."""
    header, stream = data.index(b"avih") + 8, data.index(b"strh") + 8
    return {
        "size of the file": 4,
        "size of the picture data": data.index(b"movi") - 4,
        "frames in the file": header + 16,
        "frames in the stream": stream + 32,
        "bytes of a frame": header + 28,
        "bytes a second": header + 4,
    }


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("field", sorted(avi_fields(b"avih strh movi")))
def test_the_headers_of_an_avi_are_not_believed(field: str, lie: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.avi")
    place = avi_fields(path.read_bytes())[field]
    result = decoded(patched(path, place, lie.to_bytes(4, "little")))
    assert (result.frame_count, result.lost_frames) == (FRAMES, 0)
    assert result.duration_s == pytest.approx(4.0)


@pytest.mark.parametrize("lie", LIES)
def test_no_two_claims_of_an_avi_together_refuse_a_whole_file(lie: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.avi")
    fields = avi_fields(path.read_bytes())
    for name, place in fields.items():
        if name.startswith(("size of the file", "frames in")):
            patched(path, place, lie.to_bytes(4, "little"))
    result = decoded(path)
    assert (result.frame_count, result.lost_frames) == (FRAMES, 0)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1e6, 1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("suffix", ["mkv", "webm", "flv"])
def test_a_duration_in_a_header_is_not_believed(
    suffix: str, seconds: float, tmp_path: Path
) -> None:
    path = written(tmp_path / f"a.{suffix}") if suffix != "webm" else tmp_path / "a.webm"
    if suffix == "webm":
        videos.write_video(path, frames=FRAMES, codec="libvpx", width=64, height=48)
    data = path.read_bytes()
    if suffix == "flv":
        place = data.index(b"duration\0") + 9
        patched(path, place, struct.pack(">d", seconds))
    else:
        place = data.index(b"\x44\x89\x88") + 3
        patched(path, place, struct.pack(">d", seconds * 1000))
    result = decoded(path)
    assert (result.frame_count, result.lost_frames) == (FRAMES, 0)
    assert result.duration_s == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("factor", [0.3, 1.0001, 3.0, 1e6])
def test_the_size_of_a_matroska_segment_is_not_believed_alone(
    factor: float, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.mkv")
    data = path.read_bytes()
    place = data.index(b"\x18\x53\x80\x67") + 4
    assert data[place] == 1  # a size of seven bytes follows
    patched(path, place + 1, int(len(data) * factor).to_bytes(7, "big"))
    result = decoded(path)
    assert result.lost_frames == 0
    assert result.frame_count == FRAMES or factor < 1


@pytest.mark.parametrize("box", [b"mvhd", b"tkhd", b"mdhd"])
@pytest.mark.parametrize("lie", [0, 1, 0xFFFFFFFF])
def test_the_durations_of_an_mp4_are_not_believed(box: bytes, lie: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4")
    offset = 24 if box == b"tkhd" else 20
    place = path.read_bytes().index(box) + offset
    result = decoded(patched(path, place, lie.to_bytes(4, "big")))
    assert (result.frame_count, result.lost_frames) == (FRAMES, 0)
    assert result.duration_s == pytest.approx(4.0)


@pytest.mark.parametrize("lie", [0, 1, 1 << 20, 0x7FFFFFFF])
def test_an_avi_that_is_cut_off_is_noticed_whatever_its_other_headers_say(
    lie: int, tmp_path: Path
) -> None:
    whole = written(tmp_path / "a.avi")
    patched(whole, 4, lie.to_bytes(4, "little"))
    result = decoded(videos.cut_off(whole, tmp_path / "cut.avi", share=0.7))
    assert result.frame_count < FRAMES
    assert FRAMES / 8 < result.lost_frames < FRAMES / 2


def test_frames_are_missing_as_far_as_two_claims_agree() -> None:
    assert Ending().missing(100) == 0
    assert Ending(0.5).missing(100) == 100
    assert Ending(0.5, 180).missing(100) == 80
    assert Ending(0.5, 100).missing(100) == 0
    assert Ending(0.5, 1 << 31).missing(100) == 1
    assert Ending(0.05, 1 << 31).missing(100) == 5
    assert Ending(0.001, 150).missing(100) == 1


def test_a_live_matroska_declares_no_size() -> None:
    header = b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67"
    assert segment_end(header + b"\x01" + b"\xff" * 7) is None
    assert segment_end(header + b"\x01" + (1000).to_bytes(7, "big")) == 17 + 1000
