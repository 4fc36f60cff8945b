"""Frames and entries of H.264, HEVC and MPEG-1/2 packets, from their NAL unit headers.

Sources: ITU-T H.264, 7.3.1 and 7.4.1 (nal_ref_idc, nal_unit_type); ITU-T H.265, 7.3.1.2 and Table
7-1; ISO/IEC 14496-15 for the length-prefixed form that mp4 and Matroska hold; Annex B of both
recommendations for the byte stream with start codes that transport streams hold; and for MPEG-1 and
MPEG-2 video ITU-T H.262, 6.2.1 (start codes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workers.decoding.bits import Bits

_H264_SLICES = range(1, 6)
H264_IDR = 5
_H264_SEI = 6
_H264_INTRA = (2, 4, 7, 9)
_RECOVERY_POINT = 6
_HEVC_SLICES = range(0, 32)
_HEVC_RANDOM_ACCESS = range(16, 24)
_HEVC_BROKEN_LINK = range(16, 19)
_HEVC_END = (36, 37)
_MPEG_VIDEO = ("mpeg1video", "mpeg2video")
_MPEG_PICTURE, _MPEG_SEQUENCE, _MPEG_EXTENSION = 0x00, 0xB3, 0xB5
_MPEG_INTRA = 1
_MPEG_PICTURE_CODING = 8
_MPEG_FRAME = 3
_START_CODE = b"\0\0\1"
_NO_SLICE = re.compile(
    rb"\x00\x00\x01(?=[\x00\xb0-\xff])"
)  # start codes of MPEG-1 and MPEG-2 video
_LOST = re.compile(rb"\x00{3,}[^\x00\x01]")  # see _NEVER_INSIDE
_NEVER_INSIDE = b"\0\0\0"  # ITU-T H.264, 7.4.1: emulation prevention; lost sectors are full of it


def framing(codec: str, extradata: bytes | None) -> int | None:
    """How packets hold their units: bytes of the length before each, 0 for start codes.

    None for a form or a codec that is not known here.
    """
    if codec in _MPEG_VIDEO:
        return 0
    if codec not in ("h264", "hevc") or not extradata:
        return None
    if extradata[:3] == _START_CODE or extradata[:4] == b"\0" + _START_CODE:
        return 0
    if extradata[0] != 1:
        return None
    if codec == "h264" and len(extradata) >= 7:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) >= 23:
        return (extradata[21] & 3) + 1
    return None


def is_whole(packet: memoryview, prefix: int) -> bool:
    """Whether the NAL units of a packet are sound in form: damage that shows without decoding."""
    if not prefix:
        return _LOST.search(packet) is None
    found = list(units(packet, prefix))
    if sum(prefix + len(unit) for unit in found) != len(packet):
        return False
    return not any(_NEVER_INSIDE in bytes(unit).rstrip(b"\0") for unit in found)


def parameter_sets(codec: str, extradata: bytes) -> Iterator[memoryview]:
    """The NAL units in a stream's extradata, which has one of the forms that `framing` knows."""
    if extradata[:3] == _START_CODE or extradata[:4] == b"\0" + _START_CODE:
        yield from units(memoryview(extradata), 0)
    elif codec == "h264" and len(extradata) >= 7:
        sequences, at = _counted(extradata, 6, extradata[5] & 31)
        pictures, _ = _counted(extradata, at + 1, extradata[at])
        yield from sequences + pictures
    elif codec == "hevc" and len(extradata) >= 23:
        at = 23
        for _ in range(extradata[22]):
            count = int.from_bytes(extradata[at + 1 : at + 3], "big")
            sets, at = _counted(extradata, at + 3, count)
            yield from sets


def _counted(extradata: bytes, at: int, count: int) -> tuple[list[memoryview], int]:
    """``count`` units from ``at`` on, each behind its length in two bytes, and where they end."""
    found = []
    for _ in range(count):
        end = at + 2 + int.from_bytes(extradata[at : at + 2], "big")
        found.append(memoryview(extradata)[at + 2 : end])
        at = end
    return found, at


def is_entry(codec: str, packet: memoryview, prefix: int) -> bool:
    """True where decoding may start: what follows this picture in time needs nothing before it.

    A container's own keyframe flag is not enough: it also marks the recovery points of intra
    refresh and open groups of pictures, after which frames differ from those of a full decode.
    """
    if codec in _MPEG_VIDEO:
        return _is_mpeg_entry(mpeg_headers(packet))
    headers = list(_headers(packet, prefix))
    if codec == "h264":
        slices = [h & 31 for h in headers if (h & 31) in _H264_SLICES]
        return bool(slices) and all(s == H264_IDR for s in slices)
    slices = [h >> 1 & 63 for h in headers if (h >> 1 & 63) in _HEVC_SLICES]
    return bool(slices) and all(s in _HEVC_RANDOM_ACCESS for s in slices)


def frames(codec: str, prefix: int, packet: memoryview) -> int:
    """How many frames a packet shows; -1 where its pictures do not tell.

    A decoder may leave out HEVC pictures after a broken link or an end of sequence, and those that
    wait for their turn when a random access picture says that they shall not be shown.
    """
    if codec in _MPEG_VIDEO:
        return _mpeg_frames(mpeg_headers(packet))
    if codec == "h264":  # the two fields of a frame are pictures of their own
        return int(_holds_h264_slice(packet, prefix))
    pictures = 0
    for unit in units(packet, prefix):
        kind = unit[0] >> 1 & 63
        if kind in _HEVC_BROKEN_LINK or kind in _HEVC_END:
            return -1
        if kind in _HEVC_SLICES and len(unit) > 2:
            pictures += unit[2] >> 7  # first_slice_segment_in_pic_flag
            if kind in _HEVC_RANDOM_ACCESS and unit[2] >> 6 & 1:  # no_output_of_prior_pics_flag
                return -1
    return pictures if pictures < 2 else -1


def _holds_h264_slice(packet: memoryview, prefix: int) -> bool:
    at = 0
    while prefix and at + prefix < len(packet):  # the first unit decides mostly
        if packet[at + prefix] & 31 in _H264_SLICES:
            return True
        at += prefix + int.from_bytes(packet[at : at + prefix], "big")
    return not prefix and any(header & 31 in _H264_SLICES for header in _headers(packet, prefix))


def _mpeg_frames(found: Iterator[memoryview]) -> int:
    pictures, fields = 0, 0
    for unit in found:
        pictures += unit[0] == _MPEG_PICTURE
        if unit[0] == _MPEG_EXTENSION and len(unit) > 3 and unit[1] >> 4 == _MPEG_PICTURE_CODING:
            fields += unit[3] & 3 != _MPEG_FRAME
    if pictures == 2 and fields == 2:
        return 1
    return pictures if pictures < 2 and not fields else -1


def _is_mpeg_entry(found: Iterator[memoryview]) -> bool:
    """A picture refers to the two before it at most, and never beyond an intra picture.

    A sequence header alone is no sign: it may also stand before another picture.
    """
    led = False
    for unit in found:
        led = led or unit[0] == _MPEG_SEQUENCE
        if unit[0] == _MPEG_PICTURE:
            return led and len(unit) > 2 and unit[2] >> 3 & 7 == _MPEG_INTRA
    return False


def is_exact_recovery(codec: str, packet: memoryview, prefix: int) -> bool:
    """True for the intra picture of an open group of H.264 pictures that decodes exactly.

    Its recovery point message (ITU-T H.264, D.2.8) promises that this picture and all that are
    shown after it come out exactly as if decoding had begun earlier.
    """
    if codec != "h264":
        return False
    promised = False
    slices = 0
    for unit in units(packet, prefix):
        kind = unit[0] & 31
        if kind == _H264_SEI:
            promised = promised or _promises_exact_recovery(unit[1:])
        elif kind in _H264_SLICES:
            slices += 1
            if not _is_intra_slice(unit[1:9]):
                return False
    return promised and slices > 0


def _promises_exact_recovery(messages: memoryview) -> bool:
    at = 0
    while at + 2 < len(messages):
        numbers = []
        for _ in range(2):  # payload type, then payload size
            number = 0
            while at < len(messages) and messages[at] == 0xFF:
                number, at = number + 255, at + 1
            if at >= len(messages):
                return False
            numbers.append(number + messages[at])
            at += 1
        if numbers[0] == _RECOVERY_POINT and at < len(messages):
            # recovery_frame_cnt 0 is the one bit 1; the next one is exact_match_flag
            return messages[at] >> 6 == 0b11
        at += numbers[1]
    return False


def _is_intra_slice(header: memoryview) -> bool:
    bits = Bits(bytes(header))
    try:
        bits.golomb()  # first_mb_in_slice
        return bits.golomb() in _H264_INTRA
    except IndexError:
        return False


def _headers(packet: memoryview, prefix: int) -> Iterator[int]:
    """First byte of every NAL unit."""
    return (unit[0] for unit in units(packet, prefix))


def units(packet: memoryview, prefix: int) -> Iterator[memoryview]:
    """Every NAL unit, none of them empty; nothing more once the lengths stop making sense."""
    if not prefix:
        yield from _after_start_codes(bytes(packet))
        return
    at = 0
    while at + prefix < len(packet):
        length = int.from_bytes(packet[at : at + prefix], "big")
        at += prefix
        if not 0 < length <= len(packet) - at:
            return
        yield packet[at : at + length]
        at += length


def mpeg_headers(packet: memoryview) -> Iterator[memoryview]:
    """Every unit of an MPEG-1 or MPEG-2 packet that is no slice, none of them empty."""
    data = bytes(packet)
    for found in _NO_SLICE.finditer(data):
        following = data.find(_START_CODE, found.end())
        unit = packet[found.end() : following if following >= 0 else len(data)]
        if unit:
            yield unit


def _after_start_codes(packet: bytes) -> Iterator[memoryview]:
    view = memoryview(packet)
    at = packet.find(_START_CODE)
    while 0 <= at < len(packet) - 3:
        following = packet.find(_START_CODE, at + 3)
        unit = view[at + 3 : following if following >= 0 else len(packet)]
        if unit:  # damage can put one start code right behind another
            yield unit
        at = following
