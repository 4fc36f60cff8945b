"""A video is known by its content, whatever its name, and a picture is no video."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from tests.workers import codec_videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.decoding.fragments import indexed_by_display
from workers.decoding.sniffing import is_jpeg_stream, other_format
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=32)

# What cameras, recorders and encoders write without a container, or in a rare one.
STREAMS = {
    "h264": "libx264",
    "hevc": "libx265",
    "m4v": "mpeg4",
    "mpeg1video": "mpeg1video",
    "mpeg2video": "mpeg2video",
    "mjpeg": "mjpeg",
    "mpjpeg": "mjpeg",
    "yuv4mpegpipe": "rawvideo",
    "ivf": "libvpx-vp9",
    "obu": "libsvtav1",
    "dv": "dvvideo",
    "rm": "rv20",
    "wtv": "mpeg2video",
    "mxf": "mpeg2video",
    "nut": "ffv1",
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[SandboxedDecoder]:
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(allow_codecs=("rv20",))) as sandbox:
        yield sandbox


@pytest.mark.parametrize("muxer", STREAMS)
def test_a_stream_is_opened_by_its_content(
    muxer: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = tmp_path / f"a.{muxer}"
    count = codec_videos.write(path, muxer, STREAMS[muxer], {})
    for name in ("without_a_suffix", "a.mp4"):
        renamed = path.rename(tmp_path / name)
        result = decoder.decode(Unit("u", "v", str(renamed)))
        assert isinstance(result, DecodedUnit), result
        assert (result.frame_count, result.lost_frames) == (count, 0)
        path = renamed


def jpegs(folder: Path, count: int) -> list[bytes]:
    path = folder / "frames.mjpeg"
    codec_videos.write(path, "mjpeg", "mjpeg", {})
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size][:count]


def test_frames_of_a_jpeg_stream_are_those_of_the_pictures(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = tmp_path / "a.mjpeg"
    path.write_bytes(b"".join(jpegs(tmp_path, 40)))
    result = decoder.decode(Unit("u", "v", str(path)))
    assert isinstance(result, DecodedUnit), result
    reference = videos.sequential_frames(path)
    assert len(reference) == result.frame_count == 40
    height, width = result.frames.shape[1:3]
    clips = PROTOCOL.clip_indices(40)
    for index, row in zip(clips.ravel(), result.clip_frames.ravel(), strict=True):
        assert np.array_equal(result.frames[row], videos.resize(reference[index], height, width))


@pytest.mark.parametrize(
    "behind", [b"", bytes(40), b"MotionPhoto_Data\0\0\0\x1cftypisom", b"\xff\xd9"]
)
def test_one_jpeg_is_a_picture_whatever_follows_it(
    behind: bytes, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = tmp_path / "a.mjpeg"
    path.write_bytes(jpegs(tmp_path, 1)[0] + behind)
    result = decoder.decode(Unit("u", "v", str(path)))
    assert isinstance(result, UnitFailure)
    assert result.error_type is ErrorType.not_video
    assert "JPEG picture" in result.message


def test_a_photograph_with_a_second_picture_behind_it_is_no_stream(tmp_path: Path) -> None:
    one, two = jpegs(tmp_path, 2)
    assert is_jpeg_stream(one + two)
    assert is_jpeg_stream(one + bytes(3) + two)
    segment = b"\xff\xe2\x00\x0aMPF\0\0\0\0\0"
    assert not is_jpeg_stream(one[:2] + segment + one[2:] + two)
    assert not is_jpeg_stream(one)
    assert not is_jpeg_stream(one[:-30])
    assert not is_jpeg_stream(b"")


def test_a_header_of_plain_words_is_no_text_file(tmp_path: Path) -> None:
    header = b"YUV4MPEG2 W16 H16 F25:1 C420\nFRAME\n"
    assert other_format(header + b"A" * 4000) is None
    assert other_format(b"A" * 4000) == "text"


@pytest.mark.parametrize(
    ("muxer", "flags", "right"),
    [
        ("mp4", "frag_keyframe+empty_moov", True),
        ("mp4", "frag_keyframe+empty_moov+negative_cts_offsets", True),
        ("mp4", "frag_keyframe+empty_moov+skip_trailer", False),
        ("mp4", "faststart", False),
        ("ismv", "", False),
    ],
)
def test_an_index_of_fragments_is_used_only_if_its_times_are_those_of_display(
    muxer: str, flags: str, right: bool, tmp_path: Path
) -> None:
    options = {"movflags": flags} if flags else {}
    path = tmp_path / f"a.{muxer}"
    videos.write_video(path, options={"bf": "2", "g": "20"}, container_options=options)
    with open_source(str(path)) as source:
        assert indexed_by_display(source) is right
