"""Packets of frames that no other frame refers to, so that they may stay undecoded.

FFmpeg's ``skip_frame`` "nonref" leaves out the same frames. It does not say which, and its rule for
HEVC is wrong for streams with temporal layers: a "sub-layer non-reference" picture may be a
reference of a higher layer.

VP8 and VP9 are not among the codecs: what a frame that is no reference says of probabilities and
segments holds for the frames after it.

Sources: ITU-T H.264, 7.4.1 (nal_ref_idc); ITU-T H.265, 7.4.2.2 and Table 7-1; ITU-T H.262, 6.3.9;
ISO/IEC 14496-2, 6.3.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from workers.decoding import nal
from workers.decoding.mpeg4 import Mpeg4Header

_Rule = Callable[[memoryview], bool]

_H264_SLICES = range(1, 6)
_H264_KEPT = (7, 8, 10, 11, 13, 15)  # parameter sets, ends of sequences
_HEVC_SLICES = range(0, 32)
_HEVC_NO_REFERENCE = range(0, 16, 2)
_HEVC_KEPT = (32, 33, 34, 36, 37)  # parameter sets, ends of sequences
_HEVC_VPS = 32
_MPEG_B = 3
_MPEG_PICTURE, _MPEG_USER_DATA, _MPEG_EXTENSION = 0x00, 0xB2, 0xB5
_MPEG_OF_PICTURE = (7, 8)  # picture display extension, picture coding extension


def may_stay_undecoded(stream: VideoStream) -> Callable[[Packet[Any]], bool]:
    """A function that says whether no other frame of the stream needs a packet's.

    A damaged packet may give no picture, which only decoding it shows: none that is broken in form
    may stay undecoded.
    """
    context = stream.codec_context
    rule = rule_of(context.name, context.extradata)
    return lambda packet: rule(memoryview(packet))


def rule_of(codec: str, extradata: bytes | None) -> _Rule:
    """The same for packets as bytes; ``codec`` is the name of FFmpeg's decoder."""
    if codec == "mpeg4":
        header = Mpeg4Header.of(extradata)
        return _never if header is None else _sound(0, header.is_unreferenced)
    prefix = nal.framing(codec, extradata)
    if prefix is None:
        return _never
    if codec == "h264":
        return _sound(prefix, lambda packet: _is_unreferenced_h264(packet, prefix))
    if codec == "hevc":
        layers = _hevc_layers(extradata or b"")
        if layers is None:
            return _never
        return _sound(prefix, lambda packet: _is_unreferenced_hevc(packet, prefix, layers))
    return _sound(prefix, _is_unreferenced_mpeg)


def _never(packet: memoryview) -> bool:
    return False


def _sound(prefix: int, rule: _Rule) -> _Rule:
    return lambda packet: rule(packet) and nal.is_whole(packet, prefix)


def _is_unreferenced_h264(packet: memoryview, prefix: int) -> bool:
    """Every slice must say so: a packet may hold two fields of which only one is a reference."""
    headers = [unit[0] for unit in nal.units(packet, prefix)]
    slices = [header for header in headers if header & 31 in _H264_SLICES]
    if not slices or any(header >> 5 & 3 for header in slices):
        return False
    return not any(header & 31 in _H264_KEPT for header in headers)


def _is_unreferenced_hevc(packet: memoryview, prefix: int, layers: int) -> bool:
    """``layers``: temporal layers of the stream; pictures of the last one have none above them."""
    slices = 0
    for unit in nal.units(packet, prefix):
        kind = unit[0] >> 1 & 63
        if kind in _HEVC_KEPT or len(unit) < 2:
            return False
        if kind in _HEVC_SLICES:
            slices += 1
            if kind not in _HEVC_NO_REFERENCE or unit[1] & 7 < layers:
                return False
    return slices > 0


def _hevc_layers(extradata: bytes) -> int | None:
    """The most temporal layers that a video parameter set allows; None where there is none."""
    sets = [unit for unit in nal.parameter_sets("hevc", extradata) if len(unit) > 3]
    found = [(unit[3] >> 1 & 7) + 1 for unit in sets if unit[0] >> 1 & 63 == _HEVC_VPS]
    return max(found, default=None)


def _is_unreferenced_mpeg(packet: memoryview) -> bool:
    """B-pictures, without what holds for pictures after them too, such as matrices."""
    pictures = 0
    for unit in nal.mpeg_headers(packet):
        if unit[0] == _MPEG_PICTURE:
            pictures += 1
            if len(unit) < 3 or unit[2] >> 3 & 7 != _MPEG_B:
                return False
        elif unit[0] == _MPEG_EXTENSION:
            if len(unit) < 2 or unit[1] >> 4 not in _MPEG_OF_PICTURE:
                return False
        elif unit[0] != _MPEG_USER_DATA:
            return False
    return pictures > 0
