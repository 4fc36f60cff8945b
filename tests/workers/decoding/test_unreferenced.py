"""Frames that no other needs stay undecoded, and the others come out as they were."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from workers.decoding import planned, unreferenced
from workers.decoding.demuxer import Demuxer
from workers.decoding.frames import FrameStore
from workers.decoding.packets import read_table
from workers.decoding.types import DecodeLimits
from workers.io.fetching import open_source
from workers.sampling import Protocol, protocol

_X265 = "log-level=none:keyint=20:bframes=3:b-adapt=0"
STREAMS = {
    "h264": ("libx264", {"x264-params": "bframes=3:b-adapt=0:keyint=20"}),
    "h264, open groups": ("libx264", {"x264-params": "open-gop=1:bframes=3:keyint=20:scenecut=0"}),
    "h264, fields": ("libx264", {"x264-params": "interlaced=1:bframes=2:b-adapt=0:keyint=20"}),
    "hevc": ("libx265", {"x265-params": _X265}),
    "hevc, closed groups": ("libx265", {"x265-params": f"{_X265}:no-open-gop=1"}),
    "hevc, pyramid": ("libx265", {"x265-params": f"{_X265.replace('=3', '=7')}:b-pyramid=1"}),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "20"}),
    "mpeg2": ("mpeg2video", {"bf": "2", "g": "20"}),
    "mpeg2, fields": ("mpeg2video", {"bf": "2", "g": "20", "flags": "+ildct+ilme"}),
    "mpeg1": ("mpeg1video", {"bf": "2", "g": "20"}),
}
LAYERS = ("libx265", {"x265-params": f"{_X265.replace('=3', '=7')}:temporal-layers=3"})
LIMITS = DecodeLimits()


@dataclass(frozen=True)
class _FullSize(Protocol):
    """Frames as they are."""

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return height, width


def write(folder: Path, encoder: str, options: dict[str, str]) -> Path:
    return videos.write_video(folder / "a.mp4", codec=encoder, options=options)


def decoded(path: Path, wanted: list[int]) -> list[videos.Pixels]:
    """The frames of these numbers, decoded by plan."""
    rooms: list[videos.Pixels] = []

    def allocate(shape: tuple[int, ...]) -> videos.Pixels:
        rooms.append(np.zeros(shape, dtype=np.uint8))
        return rooms[0]

    full = protocol("videomae-k400")
    store = FrameStore(
        len(wanted), _FullSize(full.name, full.clips, full.crops), allocate, output_bytes=1 << 30
    )
    with open_source(str(path)) as source, Demuxer(source, LIMITS) as demuxer:
        table = read_table(demuxer.whole(), demuxer.stream, size=source.size)
        assert table.trustworthy()
        packets = table.order()[wanted]
        assert planned.decode_frames(demuxer, table, packets, store)
    return list(rooms[0])


def left_out_by_ffmpeg(path: Path) -> set[int]:
    """Timestamps of the frames that FFmpeg leaves out with its ``skip_frame``."""
    found = []
    for skipped in ("DEFAULT", "NONREF"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            stream.codec_context.skip_frame = skipped
            found.append({frame.pts for frame in container.decode(stream)})
    return found[0] - found[1]


def left_out(path: Path) -> set[int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        is_unneeded = unreferenced.may_stay_undecoded(stream)
        return {p.pts for p in container.demux(stream) if p.size and is_unneeded(p)}


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_frames_stay_undecoded_as_with_ffmpegs_own_rule(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, *STREAMS[name])
    found = left_out(path)
    assert found == left_out_by_ffmpeg(path)
    assert len(found) >= 15


@pytest.mark.parametrize("name", [*STREAMS, "layers"])
def test_every_frame_alone_is_that_of_a_decode_of_all(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, *STREAMS.get(name, LAYERS))
    reference = videos.sequential_frames(path)
    for index, expected in enumerate(reference):
        assert np.array_equal(decoded(path, [index])[0], expected), f"frame {index}"


@pytest.mark.parametrize("name", STREAMS)
def test_a_few_frames_are_decoded_without_those_that_no_other_needs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, *STREAMS[name])
    reference = videos.sequential_frames(path)
    wanted = list(range(1, len(reference), 4))
    came = []
    plain = planned._run_frames

    def counting(*args: object) -> object:
        for frame in plain(*args):  # type: ignore[arg-type]
            came.append(frame.pts)
            yield frame

    monkeypatch.setattr(planned, "_run_frames", counting)
    frames = decoded(path, wanted)
    assert all(np.array_equal(f, reference[i]) for f, i in zip(frames, wanted, strict=True))
    assert len(came) <= 0.8 * len(reference)


def test_a_picture_of_a_lower_temporal_layer_is_decoded_for_those_above(tmp_path: Path) -> None:
    """FFmpeg's own rule leaves it out: it is no reference of its own layer."""
    path = write(tmp_path, *LAYERS)
    assert left_out(path) < left_out_by_ffmpeg(path)


@pytest.mark.parametrize("name", STREAMS)
def test_a_packet_that_is_broken_in_form_is_decoded(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, *STREAMS[name])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        rule = unreferenced.rule_of(context.name, context.extradata)
        packets = [bytes(p) for p in container.demux(stream) if p.size]
    spared = [packet for packet in packets if rule(memoryview(packet))]
    for packet in spared[:5]:
        middle = len(packet) // 2
        broken = packet[:middle] + bytes(6) + b"\x55" + packet[middle + 7 :]
        assert not rule(memoryview(broken))
        assert not rule(memoryview(packet + packets[0]))


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "mpeg2video", "vp9", "no codec"])
def test_a_packet_that_makes_no_sense_is_decoded(codec: str) -> None:
    for extradata in (b"", None, b"\1" * 40, b"\0\0\1\xb0" * 9):
        rule = unreferenced.rule_of(codec, extradata)
        for data in (b"", b"\0\0\0", b"\xff" * 20, b"\0\0\0\x02\x65", b"\0\0\1\xb6"):
            assert not rule(memoryview(data))
