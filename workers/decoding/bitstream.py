"""Frames per packet and entries (packets where decoding may start), read from the bitstream.

A container's flags are not enough: in an MP4 without a sync sample table every packet of MPEG-4 has
the keyframe flag, and one packet may hold two frames or none. Videos of a codec that is not read
here are decoded from start to end.

Sources: RFC 6386, 9.1 (VP8); VP9 Bitstream & Decoding Process Specification, 6.2, 7.2 and Annex B;
AV1 Bitstream & Decoding Process Specification, 5.3 and 5.9; ITU-T T.81, Annex B (JPEG). H.264,
HEVC, MPEG-1 and MPEG-2 video are read by `nal`, MPEG-4 Part 2 by `mpeg4`. These checks are fast,
as they read every packet of every file; `pictures` checks more where there is no index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from workers.decoding import mpeg4, nal
from workers.decoding.pictures import may_hide_pictures

_VP8_START_CODE = b"\x9d\x01\x2a"
_AV1_SEQUENCE_HEADER, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 3, 6
_JPEG_SCAN, _JPEG_HUFFMAN, _JPEG_QUANTIZATION = 0xDA, 0xC4, 0xDB


class Contents(NamedTuple):
    """``frames``: how many the packet shows, UNKNOWN where it cannot be told.

    ``entry``: all frames from this one on, in the order of display, decode as after a decode from
    the start.
    """

    frames: int
    entry: bool


UNKNOWN = -1
_UNREAD = Contents(UNKNOWN, False)


@dataclass(frozen=True)
class Reader:
    """Reads the packets of one stream; raises nothing, whatever a packet holds.

    ``frames`` is asked of every packet, ``is_entry`` of few: each does no more than it must.
    """

    frames: Callable[[memoryview], int]
    is_entry: Callable[[memoryview], bool]

    def contents(self, packet: memoryview) -> Contents:
        """Both answers."""
        return Contents(self.frames(packet), self.is_entry(packet))


def reader(codec: str, extradata: bytes | None) -> Reader | None:
    """What reads the packets of a stream of ``codec``; None for a codec that is not read here.

    ``codec``: the name of FFmpeg's decoder.
    """
    if codec == "mpeg4":
        stream = mpeg4.Mpeg4Header.of(extradata)
        return None if stream is None else _of(lambda packet: Contents(*stream.contents(packet)))
    framing = nal.framing(codec, extradata)
    if codec == "hevc" and may_hide_pictures(codec, extradata or b""):
        return None
    if framing is not None:
        return Reader(partial(nal.frames, codec, framing), partial(_is_nal_entry, codec, framing))
    return _READERS.get(codec)


def _of(read: Callable[[memoryview], Contents]) -> Reader:
    return Reader(lambda packet: read(packet).frames, lambda packet: read(packet).entry)


def _is_nal_entry(codec: str, framing: int, packet: memoryview) -> bool:
    return nal.frames(codec, framing, packet) == 1 and nal.is_entry(codec, packet, framing)


def _vp8(packet: memoryview) -> Contents:
    if len(packet) < 3:
        return _UNREAD
    key, shown = not packet[0] & 1, packet[0] >> 4 & 1
    return Contents(shown, key and shown == 1 and packet[3:6] == _VP8_START_CODE)


def _vp9(packet: memoryview) -> Contents:
    """A packet may be a superframe, of which mostly one frame is shown and the others are not."""
    headers = [_vp9_frame(frame) for frame in _vp9_frames(packet)]
    if not headers or any(header is None for header in headers):
        return _UNREAD
    first = headers[0]
    assert first is not None
    return Contents(sum(header.frames for header in headers if header), first.entry)


def _vp9_frames(packet: memoryview) -> Iterator[memoryview]:
    marker = packet[-1] if len(packet) else 0
    count, length = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = 2 + count * length
    if marker >> 5 != 0b110 or len(packet) < index or packet[-index] != marker:
        yield packet
        return
    sizes, at = packet[len(packet) - index + 1 :], 0
    for number in range(count):
        size = int.from_bytes(sizes[number * length : (number + 1) * length], "little")
        if size:
            yield packet[at : at + size]
        at += size


def _vp9_frame(frame: memoryview) -> Contents | None:
    bits = _bits(frame[:2])
    if len(bits) < 8 or not bits.startswith("10"):
        return None
    rest = bits[5:] if bits[2:4] == "11" else bits[4:]
    if rest[0] == "1":  # show_existing_frame
        return Contents(1, False)
    return Contents(int(rest[2]), rest[1:3] == "01")  # frame_type, show_frame


def _av1(packet: memoryview) -> Contents:
    frames: list[Contents] = []
    still = False
    for kind, body in _av1_units(packet):
        if kind not in (_AV1_SEQUENCE_HEADER, _AV1_FRAME_HEADER, _AV1_FRAME):
            continue
        bits = _bits(body[:1])
        if not bits:
            return _UNREAD
        if kind == _AV1_SEQUENCE_HEADER:
            still = bits[4] == "1"  # reduced_still_picture_header
        elif still or bits[0] == "1":  # show_existing_frame
            frames.append(Contents(1, still))
        else:  # frame_type, show_frame
            frames.append(Contents(int(bits[3]), bits[1:4] == "001"))
    if not frames:
        return _UNREAD
    return Contents(sum(frame.frames for frame in frames), frames[0].entry)


def _av1_units(packet: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, payload) of every open bitstream unit; nothing more once sizes stop making sense."""
    at = 0
    while at < len(packet):
        header = packet[at]
        at += 2 if header & 4 else 1
        size = len(packet) - at
        if header & 2:
            size = 0
            for place in range(8):
                if at >= len(packet):
                    return
                size |= (packet[at] & 127) << 7 * place
                at += 1
                if not packet[at - 1] & 128:
                    break
        if not 0 <= size <= len(packet) - at:
            return
        yield header >> 3 & 15, packet[at : at + size]
        at += size


def _jpeg(packet: memoryview) -> Contents:
    """An entry holds its own tables: a decoder keeps those of the picture before."""
    data, at = bytes(packet), 2
    markers = set()
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        markers.add(marker)
        if marker == _JPEG_SCAN:
            return Contents(1, {_JPEG_HUFFMAN, _JPEG_QUANTIZATION} <= markers)
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return _UNREAD


def _of_pictures(place: int, sign: bytes) -> Reader:
    """Of a codec all of whose packets are pictures of their own, known by ``sign`` at ``place``."""
    return _of(
        lambda packet: Contents(1, True) if packet[place : place + len(sign)] == sign else _UNREAD
    )


def _bits(data: memoryview) -> str:
    return "".join(f"{byte:08b}" for byte in data)


_READERS: dict[str, Reader] = {
    "vp8": _of(_vp8),
    "libvpx": _of(_vp8),
    "vp9": _of(_vp9),
    "libvpx-vp9": _of(_vp9),
    "libdav1d": _of(_av1),
    "libaom-av1": _of(_av1),
    "av1": _of(_av1),
    "mjpeg": _of(_jpeg),
    "dvvideo": _of_pictures(0, b"\x1f"),
    "dnxhd": _of_pictures(0, b"\0\0\2\x80"),
    "prores": _of_pictures(4, b"icpf"),
}
