"""The two questions that planning asks of an H.264 or HEVC packet, from its NAL unit headers.

Sources: ITU-T H.264, 7.3.1 and 7.4.1 (nal_ref_idc, nal_unit_type); ITU-T H.265, 7.3.1.2 and Table
7-1; ISO/IEC 14496-15 for the length-prefixed form that mp4 and Matroska hold; Annex B of both
recommendations for the byte stream with start codes that transport streams hold; and for MPEG-1 and
MPEG-2 video ITU-T H.262, 6.2.1 (start codes).
"""

from __future__ import annotations

from collections.abc import Iterator

_H264_SLICES = range(1, 6)
_H264_IDR = 5
_HEVC_SLICES = range(0, 32)
_HEVC_RANDOM_ACCESS = range(16, 24)
_MPEG_VIDEO = ("mpeg1video", "mpeg2video")
_MPEG_SEQUENCE = 0xB3
_START_CODE = b"\0\0\1"


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


def is_unreferenced(codec: str, packet: memoryview, prefix: int) -> bool:
    """True where no other H.264 picture refers to this one, so that it may stay undecoded.

    Every slice must say so: a packet may hold two fields of which only one is a reference.
    """
    if codec != "h264":
        return False
    headers = [h for h in _headers(packet, prefix) if (h & 31) in _H264_SLICES]
    return bool(headers) and not any(h >> 5 & 3 for h in headers)


def is_entry(codec: str, packet: memoryview, prefix: int) -> bool:
    """True where decoding may start: what follows this picture in time needs nothing before it.

    A container's own keyframe flag is not enough: it also marks the recovery points of intra
    refresh and open groups of pictures, after which frames differ from those of a full decode.
    """
    headers = list(_headers(packet, prefix))
    if codec in _MPEG_VIDEO:  # a picture refers to the two before it at most, never beyond an I
        return _MPEG_SEQUENCE in headers
    if codec == "h264":
        slices = [h & 31 for h in headers if (h & 31) in _H264_SLICES]
        return bool(slices) and all(s == _H264_IDR for s in slices)
    slices = [h >> 1 & 63 for h in headers if (h >> 1 & 63) in _HEVC_SLICES]
    return bool(slices) and all(s in _HEVC_RANDOM_ACCESS for s in slices)


def _headers(packet: memoryview, prefix: int) -> Iterator[int]:
    """First byte of every NAL unit; nothing more once the lengths stop making sense."""
    if not prefix:
        yield from _after_start_codes(bytes(packet))
        return
    at = 0
    while at + prefix < len(packet):
        length = int.from_bytes(packet[at : at + prefix], "big")
        at += prefix
        if not 0 < length <= len(packet) - at:
            return
        yield packet[at]
        at += length


def _after_start_codes(packet: bytes) -> Iterator[int]:
    at = packet.find(_START_CODE)
    while 0 <= at < len(packet) - 3:
        yield packet[at + 3]
        at = packet.find(_START_CODE, at + 3)
