"""Packets that do not hold one whole frame each are noticed by their headers."""

from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests import videos
from workers.decoding import nal
from workers.decoding.bits import Bits
from workers.decoding.pictures import Pictures

START = b"\0\0\0\1"


def packets_of(path: Path) -> tuple[str, bytes, list[bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        return stream.codec_context.name, stream.codec_context.extradata or b"", packets


def judged(path: Path) -> tuple[Pictures, list[bytes]]:
    """Pictures that have seen the first packet of a video, and the others."""
    codec, extradata, packets = packets_of(path)
    pictures = Pictures(codec, extradata)
    assert pictures.is_whole(memoryview(packets[0]))
    return pictures, packets[1:]


def units(packet: bytes) -> Iterator[bytes]:
    return (bytes(unit) for unit in nal.units(memoryview(packet), 0))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.ts", "libx264", {"bf": "2"}),
        ("a.flv", "libx264", {"bf": "2"}),
        ("a.ts", "libx264", {"x264-params": "interlaced=1:slices=3"}),
        ("a.ts", "libx265", {"x265-params": "log-level=none:keyint=20"}),
        ("a.ts", "mpeg2video", {"bf": "2"}),
        ("a.mpg", "mpeg1video", {"bf": "2"}),
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.avi", "mjpeg", {}),
    ],
)
def test_every_packet_of_a_sound_video_is_a_frame(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = videos.write_video(tmp_path / name, codec=codec, options=options, pixel_format=pixels)
    codec, extradata, packets = packets_of(path)
    pictures = Pictures(codec, extradata)
    assert all(pictures.is_whole(memoryview(packet)) for packet in packets)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.ts", "libx264"), ("a.ts", "libx265"), ("a.ts", "mpeg2video"), ("a.avi", "mpeg4")],
)
def test_bytes_that_were_lost_are_noticed(name: str, codec: str, tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "0"}
    path = videos.write_video(tmp_path / name, codec=codec, options=options)
    pictures, (packet, *_) = judged(path)
    assert pictures.is_whole(memoryview(packet))
    middle = len(packet) // 2
    for stop in (middle + 40, len(packet)):
        broken = packet[:middle] + bytes(stop - middle) + packet[stop:]
        assert not pictures.is_whole(memoryview(broken))


def test_two_pictures_of_h264_or_none_are_no_frame(tmp_path: Path) -> None:
    pictures, (one, two, *_) = judged(videos.write_video(tmp_path / "a.ts", options={"bf": "0"}))
    assert not pictures.is_whole(memoryview(one + two))
    assert not pictures.is_whole(memoryview(START + b"\x09\x10"))


def test_bytes_that_end_too_early_are_no_frame(tmp_path: Path) -> None:
    pictures, (packet, *_) = judged(videos.write_video(tmp_path / "a.ts"))
    for end in range(4, 12):
        pictures.is_whole(memoryview(packet[:end]))
    assert not pictures.is_whole(memoryview(START + b"\x41"))


class Writer:
    """Bits to bytes, for headers that no encoder here writes."""

    def __init__(self) -> None:
        self.bits = ""

    def put(self, value: int, count: int) -> "Writer":
        self.bits += f"{value:0{count}b}" if count else ""
        return self

    def golomb(self, *values: int) -> "Writer":
        for value in values:
            digits = f"{value + 1:b}"
            self.bits += "0" * (len(digits) - 1) + digits
        return self

    def unit(self, header: int) -> bytes:
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        return START + bytes([header]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def interlaced_parameters() -> bytes:
    """Main profile, frame_num of 4 bits, pictures may be fields."""
    sequence = Writer().put(77, 8).put(0, 8).put(30, 8).golomb(0, 0, 2, 1).put(0, 1)
    sequence.golomb(7, 3).put(0, 1).put(1, 6)
    return sequence.unit(0x67) + Writer().golomb(0, 0).put(0, 8).unit(0x68)


def a_slice(number: int, *, field: bool = False, header: int = 0x41, first: int = 0) -> bytes:
    writer = Writer().golomb(first, 5, 0).put(number, 4).put(field, 1)
    return writer.put(0b101100, 6).put(0x5555, 16).unit(header)


def interlaced() -> Pictures:
    pictures = Pictures("h264", interlaced_parameters())
    assert pictures.is_whole(memoryview(interlaced_parameters() + a_slice(0, header=0x65)))
    return pictures


def test_a_frame_of_h264_is_no_field() -> None:
    assert interlaced().is_whole(memoryview(a_slice(1)))
    assert not interlaced().is_whole(memoryview(a_slice(1, field=True)))
    assert not interlaced().is_whole(memoryview(a_slice(1, field=True) + a_slice(1, field=True)))


def test_several_slices_are_one_frame_and_a_missing_first_one_is_none() -> None:
    assert interlaced().is_whole(memoryview(a_slice(1) + a_slice(1, first=8)))
    assert not interlaced().is_whole(memoryview(a_slice(1, first=8)))


def test_a_reference_that_is_missing_is_noticed() -> None:
    pictures = interlaced()
    assert pictures.is_whole(memoryview(a_slice(1)))
    assert pictures.is_whole(memoryview(a_slice(2, header=0x01)))
    assert pictures.is_whole(memoryview(a_slice(2)))
    assert not pictures.is_whole(memoryview(a_slice(4)))
    assert pictures.is_whole(memoryview(a_slice(0, header=0x65)))


def test_parameters_that_change_are_noticed() -> None:
    pictures = interlaced()
    assert pictures.is_whole(memoryview(interlaced_parameters() + a_slice(1)))
    other = Writer().golomb(1, 0).put(0, 8).unit(0x68)
    assert not pictures.is_whole(memoryview(other + a_slice(2)))


def test_hevc_pictures_that_may_never_be_shown_are_noticed(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:keyint=10:min-keyint=10:open-gop=0"}
    path = videos.write_video(tmp_path / "a.ts", codec="libx265", options=options)
    codec, extradata, (packet, *_) = packets_of(path)
    hiding = Writer().golomb(0, 0).put(0b01, 2).put(0, 20).unit(34 << 1)
    hiding = hiding[:5] + b"\1" + hiding[5:]  # a header of two bytes
    assert Pictures(codec, extradata).is_whole(memoryview(packet))
    assert not Pictures(codec, extradata).is_whole(memoryview(hiding + packet))


def test_a_row_of_an_mpeg2_picture_that_is_missing_is_noticed(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.ts", codec="mpeg2video", options={"bf": "0"})
    pictures, (packet, *_) = judged(path)
    all_units = list(units(packet))
    for row in (1, 3, 6):
        kept = [unit for unit in all_units if unit[0] != row]
        assert len(kept) < len(all_units)
        assert not pictures.is_whole(memoryview(b"".join(b"\0\0\1" + unit for unit in kept)))


def test_bits_are_read_as_the_standards_write_them() -> None:
    bits = Bits(b"\xa6\x42\x98\xe2\x04\x8a\x00\x00\x03\x01")
    assert [bits.golomb() for _ in range(9)] == list(range(9))
    signed = Bits(b"\xa6\x42\x98\xe2")
    assert [signed.signed_golomb() for _ in range(5)] == [0, 1, -1, 2, -2]
    escaped = Bits(b"\0\0\3\1")
    assert escaped.take(24) == 1
    with pytest.raises(IndexError):
        escaped.take(1)
