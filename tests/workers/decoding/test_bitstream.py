"""What a packet's own bits say: how many frames it shows, and whether decoding may start there."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from tests.workers import codec_videos
from workers.decoding import bitstream, mpeg4, nal
from workers.decoding.bitstream import UNKNOWN, Contents

CASES = {
    "libx264": "mp4",
    "libx265": "mp4",
    "libvpx": "matroska",
    "libvpx-vp9": "matroska",
    "libsvtav1": "mp4",
    "mpeg4": "mp4",
    "mpeg1video": "matroska",
    "mpeg2video": "mp4",
    "mjpeg": "mov",
}


def read(path: Path) -> tuple[bitstream.Reader, list[bytes], list[bool]]:
    """(what reads the stream, its packets, what the container calls a keyframe)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        reader = bitstream.reader(context.name, context.extradata)
        assert reader is not None
        packets = [packet for packet in container.demux(stream) if packet.size]
        return reader, [bytes(p) for p in packets], [p.is_keyframe for p in packets]


def contents(path: Path) -> tuple[list[Contents], list[bool]]:
    reader, packets, flagged = read(path)
    return [reader.contents(memoryview(packet)) for packet in packets], flagged


@pytest.mark.parametrize("encoder", CASES)
def test_the_entries_of_a_sound_file_are_its_keyframes(encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "video"
    codec_videos.write(path, CASES[encoder], encoder, {"bf": "2"} if "mpeg" in encoder else {})
    found, flagged = contents(path)
    assert [entry for _, entry in found] == flagged
    assert sum(frames for frames, _ in found) == codec_videos.FRAMES
    assert UNKNOWN not in [frames for frames, _ in found]
    assert sum(flagged) > 1


def test_a_file_without_a_table_of_keyframes_has_the_entries_that_it_had(tmp_path: Path) -> None:
    codec_videos.write(tmp_path / "a.mp4", "mp4", "mpeg4", {})
    before, _ = contents(tmp_path / "a.mp4")
    path = codec_videos.without_sync_samples(tmp_path / "a.mp4", tmp_path / "b.mp4")
    after, flagged = contents(path)
    assert all(flagged)
    assert after == before
    assert sum(entry for _, entry in after) == 5


def test_hidden_frames_are_told_from_shown_ones() -> None:
    vp8 = bitstream.reader("vp8", None)
    vp9 = bitstream.reader("vp9", None)
    av1 = bitstream.reader("libdav1d", None)
    assert vp8 is not None
    assert vp9 is not None
    assert av1 is not None
    assert vp8.contents(memoryview(b"\x10\0\0\x9d\x01\x2a")) == Contents(1, True)
    assert vp8.contents(memoryview(b"\x11\0\0")) == Contents(1, False)
    assert vp8.contents(memoryview(b"\x01\0\0")) == Contents(0, False)
    shown, hidden, again = b"\x86\0", b"\x84\0", b"\x88"
    superframe = hidden + shown + b"\xc1\x02\x02\xc1"
    assert vp9.contents(memoryview(shown)) == Contents(1, False)
    assert vp9.contents(memoryview(hidden)) == Contents(0, False)
    assert vp9.contents(memoryview(again)) == Contents(1, False)
    assert vp9.contents(memoryview(superframe)) == Contents(1, False)
    assert vp9.contents(memoryview(shown + superframe[2:])).frames == 2
    assert av1.contents(memoryview(b"\x32\x01\x10")) == Contents(1, True)
    assert av1.contents(memoryview(b"\x32\x01\x20")) == Contents(0, False)
    assert av1.contents(memoryview(b"\x12\x00\x1a\x01\x80")) == Contents(1, False)


def test_packed_pictures_are_no_frame_that_can_be_counted(tmp_path: Path) -> None:
    codec_videos.write(tmp_path / "a.avi", "avi", "mpeg4", {"bf": "2"})
    codec_videos.packed(tmp_path / "a.avi", tmp_path / "b.avi")
    found, _ = contents(tmp_path / "b.avi")
    assert 20 < sum(frames == UNKNOWN for frames, _ in found) < len(found)
    assert all(not entry for frames, entry in found if frames == UNKNOWN)


def test_a_recovery_point_is_no_entry(tmp_path: Path) -> None:
    options = {"x264-params": "intra-refresh=1:keyint=20"}
    found, flagged = contents(videos.write_video(tmp_path / "a.mp4", options=options))
    assert sum(entry for _, entry in found) == 1 < sum(flagged)


def test_an_interlaced_mpeg4_stream_is_entered_at_its_start(tmp_path: Path) -> None:
    codec_videos.write(tmp_path / "a.mp4", "mp4", "mpeg4", {"flags": "+ilme+ildct", "bf": "1"})
    found, _ = contents(tmp_path / "a.mp4")
    assert not any(entry for _, entry in found)


def test_an_mpeg4_packet_that_changes_the_header_is_unclear(tmp_path: Path) -> None:
    codec_videos.write(tmp_path / "a.mp4", "mp4", "mpeg4", {})
    with av.open(str(tmp_path / "a.mp4")) as container:
        header = container.streams.video[0].codec_context.extradata
        stream = mpeg4.Mpeg4Header.of(header)
        packet = bytes(next(container.demux(video=0)))
    assert stream is not None
    assert header is not None
    assert stream.contents(memoryview(packet)) == (1, True)
    assert stream.contents(memoryview(header + packet)) == (1, True)
    assert stream.contents(memoryview(header + b"x" + packet)) == (-1, False)
    assert mpeg4.Mpeg4Header.of(b"") is None
    assert mpeg4.Mpeg4Header.of(header[:20]) is None


def test_codecs_that_are_not_read_have_no_reader() -> None:
    for codec in ("ffv1", "wmv3", "rv20", "h263", "theora"):
        assert bitstream.reader(codec, b"") is None
    assert bitstream.reader("mpeg4", None) is None
    assert bitstream.reader("h264", None) is None


@pytest.mark.parametrize("encoder", CASES)
def test_no_packet_makes_a_reader_fail(encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "video"
    codec_videos.write(path, CASES[encoder], encoder, {})
    reader, packets, _ = read(path)
    rng = np.random.default_rng(7)
    for packet in packets[:20]:
        for length in (0, 1, 2, 3, 5, 8, 13, 40):
            reader.contents(memoryview(packet[:length]))
            frames, entry = reader.contents(memoryview(rng.bytes(length)))
            assert frames >= UNKNOWN
            assert entry in (True, False)
        damaged = bytearray(packet)
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        reader.contents(memoryview(damaged))


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video", "h264", "hevc"])
@pytest.mark.parametrize("packet", [b"\0\0\1" * 4, b"\0\0\1\0\0\1\0\0\1\xb3", b"\0\0\1", b""])
def test_start_codes_without_units_are_no_error(codec: str, packet: bytes) -> None:
    view = memoryview(packet)
    assert all(len(unit) for unit in nal.units(view, 0))
    nal.frames(codec, 0, view)
    nal.is_entry(codec, view, 0)
