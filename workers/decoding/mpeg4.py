"""Frames and entries of packets of MPEG-4 Part 2 video (ISO/IEC 14496-2, 6.2).

DivX and Xvid in AVI put two pictures into one packet and an empty one into the next, and some MP4
files flag every packet as a keyframe. The picture headers show both.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from workers.decoding.bits import Bits

_START_CODE = b"\0\0\1"
_LAYER = range(0x20, 0x30)
_SEQUENCE, _USER_DATA, _GROUP, _PICTURE = 0xB0, 0xB2, 0xB3, 0xB6
_STUDIO_PROFILES = range(0xE1, 0xE9)
_EXTENDED_ASPECT = 15
_RECTANGULAR = 0
_INTRA, _BIDIRECTIONAL = 0, 2
_VBV_BITS = 79
_HEADER_BYTES = 64


@dataclass(frozen=True)
class Mpeg4Header:
    """The header of a stream of MPEG-4 Part 2 video. ``header``: its bytes.

    ``increment_bits``: the length of the field before a picture's "coded" flag.
    ``interlaced``: fields' motion is scaled by a time that the decoder keeps from the first
    B-picture that it meets, so that decoding must begin at the start.
    """

    header: bytes
    increment_bits: int
    interlaced: bool

    @classmethod
    def of(cls, extradata: bytes | None) -> Mpeg4Header | None:
        """Of a codec's extradata; None where it holds no header of rectangular video."""
        header = extradata or b""
        for code, at in _codes(header):
            if code == _SEQUENCE and header[at : at + 1] and header[at] in _STUDIO_PROFILES:
                return None
            if code in _LAYER:
                with suppress(IndexError):
                    return _read_layer(header, at)
        return None

    def is_unreferenced(self, packet: memoryview) -> bool:
        """Whether it holds one B-picture, and nothing that changes how later pictures decode."""
        data = bytes(packet)
        codes = _codes(data)
        pictures = [at for code, at in codes if code == _PICTURE]
        if self.interlaced or len(pictures) != 1 or len(data) <= pictures[0]:
            return False
        only = all(code in (_PICTURE, _USER_DATA) for code, _ in codes)
        return only and data[pictures[0]] >> 6 == _BIDIRECTIONAL

    def contents(self, packet: memoryview) -> tuple[int, bool]:
        """(frames that it shows, whether decoding may start here); (-1, False) where unclear.

        That is a packet that does not hold exactly one coded picture, or that changes the header.
        """
        data = bytes(packet)
        pictures: list[int] = []
        header_end = len(data)
        for code, at in _codes(data):
            if code in (_GROUP, _PICTURE):
                header_end = min(header_end, at - 4)
            elif at - 4 > header_end:
                return -1, False
            if code == _PICTURE:
                pictures.append(at)
        header = data[:header_end].rstrip(b"\0")
        if len(pictures) != 1 or (header and header != self.header.rstrip(b"\0")):
            return -1, False
        bits = Bits(data[pictures[0] : pictures[0] + _HEADER_BYTES], escaped=False)
        try:
            kind = bits.take(2)
            while bits.take(1):  # modulo_time_base
                pass
            bits.skip(1 + self.increment_bits + 1)
            coded = bits.take(1)
        except IndexError:
            return -1, False
        return (1, kind == _INTRA and not self.interlaced) if coded else (-1, False)


def _read_layer(header: bytes, at: int) -> Mpeg4Header | None:
    bits = Bits(header[at : at + _HEADER_BYTES], escaped=False)
    bits.skip(1 + 8)
    if bits.take(1):  # is_object_layer_identifier
        bits.skip(4 + 3)
    if bits.take(4) == _EXTENDED_ASPECT:
        bits.skip(8 + 8)
    if bits.take(1):  # vol_control_parameters
        bits.skip(2 + 1)
        if bits.take(1):
            bits.skip(_VBV_BITS)
    if bits.take(2) != _RECTANGULAR:
        return None
    bits.skip(1)
    resolution = bits.take(16)
    increment_bits = max(1, (resolution - 1).bit_length())
    bits.skip(1)
    if bits.take(1):  # fixed_vop_rate
        bits.skip(increment_bits)
    bits.skip(1 + 13 + 1 + 13 + 1)
    interlaced = bool(bits.take(1))
    return Mpeg4Header(header, increment_bits, interlaced) if resolution else None


def _codes(data: bytes) -> list[tuple[int, int]]:
    """(start code, where what follows it begins), in order."""
    found = []
    at = data.find(_START_CODE)
    while 0 <= at < len(data) - 3:
        found.append((data[at + 3], at + 4))
        at = data.find(_START_CODE, at + 3)
    return found
