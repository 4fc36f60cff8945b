"""Whether every packet of a stream holds exactly one whole frame, by its headers alone.

A frame's number is the count of the frames before it. Where not all of them are decoded, the
packets must show that each gives one frame; what is not certain counts as doubt.

Sources: ITU-T H.264, 7.3.2.2 and 7.3.3; ITU-T H.265, 7.3.2.3.1, 7.3.6.1 and 7.4.2.2;
ITU-T H.262, 6.2.3; ISO/IEC 14496-2, 6.2.5; ITU-T T.81, B.1.1.3; IEC 61834-2, 10.1; SMPTE ST 2019-1
(VC-3) and RDD 36 (ProRes), whose frames hold both fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from workers.decoding import mpeg4, nal
from workers.decoding.bits import Bits
from workers.decoding.h264_sequence import Sequence, read_sequence

_H264_SPS, _H264_PPS = 7, 8
_HEVC_PARAMETERS = (32, 33, 34)
_HEVC_PPS = 34
_HEVC_ENDS = (36, 37)
_HEVC_BROKEN_LINKS = (16, 17, 18)
_MPEG_PICTURE, _MPEG_EXTENSION, _MPEG_CODING = 0x00, 0xB5, 8
_MPEG_SEQUENCE, _MPEG_SLICES = 0xB3, range(0x01, 0xB0)  # a slice's code is its row of macroblocks
_MPEG_FIELDS, _MPEG_FRAME = [1, 2], 3
_MPEG_D_PICTURE = 4
_DV_HEADER, _DNX_PREFIX, _PRORES_FRAME = 0x1F, b"\0\0\2\x80", b"icpf"


class Pictures:
    """Takes the packets of one stream from the first on and says of each whether it is one frame.

    Always False for a codec that is not known here. ``extradata`` is as in `nal.framing`.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._framing = nal.framing(codec, extradata)
        self._first = True
        self._parameters: set[bytes] = set()
        self._sequences: dict[int, Sequence] = {}
        self._used: dict[int, int] = {}
        self._reference: int | None = None
        self._height = 0
        self._mpeg4 = mpeg4.Stream.of(extradata)
        checks: dict[str, Callable[[memoryview], bool]] = {
            "h264": self._is_h264_frame,
            "hevc": self._is_hevc_frame,
            "mpeg1video": self._is_mpeg_frame,
            "mpeg2video": self._is_mpeg_frame,
            "mpeg4": self._is_mpeg4_frame,
            "mjpeg": _is_jpeg,
            "dvvideo": lambda packet: packet[0] == _DV_HEADER,
            "dnxhd": lambda packet: bytes(packet[:4]) == _DNX_PREFIX,
            "prores": lambda packet: bytes(packet[4:8]) == _PRORES_FRAME,
        }
        self._check = checks.get(codec)
        with suppress(IndexError):  # what is missing in them is missed when it is needed
            for unit in nal.parameter_sets(codec, extradata or b""):
                self._learn(bytes(unit))

    def is_frame(self, packet: memoryview) -> bool:
        """Whether ``packet`` gives exactly one frame wherever decoding begins before it."""
        if self._check is None:
            return False
        try:
            return self._check(packet)
        except IndexError:  # a header ends before its fields do
            return False
        finally:
            self._first = False

    def _known(self, unit: memoryview) -> bool:
        """Whether a parameter set holds from the first packet on, so that none can be missed."""
        data = bytes(unit).rstrip(b"\0")
        if self._first:
            self._learn(data)
        return data in self._parameters

    def _learn(self, data: bytes) -> None:
        self._parameters.add(data.rstrip(b"\0"))
        if self._codec != "h264":
            return
        if data[0] & 31 == _H264_SPS:
            number, sequence = read_sequence(Bits(data[1:]))
            self._sequences[number] = sequence
        elif data[0] & 31 == _H264_PPS:
            bits = Bits(data[1:])
            number = bits.golomb()
            self._used[number] = bits.golomb()

    def _units(self, packet: memoryview) -> Iterator[memoryview]:
        assert self._framing is not None
        return nal.units(packet, self._framing)

    def _is_h264_frame(self, packet: memoryview) -> bool:
        if self._framing is None or not _is_sound(packet, self._framing):
            return False
        starts = 0
        for unit in self._units(packet):
            kind = unit[0] & 31
            if unit[0] & 128 or kind in (2, 3, 4):
                return False
            if kind in (_H264_SPS, _H264_PPS):
                if not self._known(unit):
                    return False
            elif kind in (1, 5):
                bits = Bits(bytes(unit[1:17]))
                if bits.golomb() == 0:  # the first macroblock: a picture begins
                    starts += 1
                    if not self._is_next_frame(unit[0], bits):
                        return False
        return starts == 1

    def _is_next_frame(self, header: int, bits: Bits) -> bool:
        """Whether a slice is no field, and no reference is missing between it and the last one.

        ``header``: the unit's first byte; ``bits`` go on behind first_mb_in_slice.
        """
        bits.golomb()
        sequence = self._sequences.get(self._used.get(bits.golomb(), -1))
        if sequence is None:
            return False
        bits.skip(sequence.plane_bits)
        number, before = bits.take(sequence.number_bits), self._reference
        if sequence.fields and bits.take(1):
            return False
        if header & 96:
            self._reference = number
        if header & 31 == nal.H264_IDR or before is None:
            return True
        return number in (before, (before + 1) % (1 << sequence.number_bits))

    def _is_hevc_frame(self, packet: memoryview) -> bool:
        if self._framing is None or not _is_sound(packet, self._framing):
            return False
        starts = 0
        for unit in self._units(packet):
            kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
            if unit[0] & 128 or layer or kind in _HEVC_ENDS:
                return False
            if kind in _HEVC_PARAMETERS and not self._known(unit):
                return False
            if kind == _HEVC_PPS and _hides_pictures(Bits(bytes(unit[2:18]))):
                return False
            if kind < 32:
                starts += unit[2] >> 7
                if not self._first and self._drops_pictures(kind, unit):
                    return False
        return starts == 1

    @staticmethod
    def _drops_pictures(kind: int, unit: memoryview) -> bool:
        """Whether pictures before or around this one may never be shown."""
        discards = 16 <= kind < 24 and bool(unit[2] & 64)  # no_output_of_prior_pics_flag
        return discards or kind in _HEVC_BROKEN_LINKS

    def _is_mpeg_frame(self, packet: memoryview) -> bool:
        if not nal.is_whole(packet, 0):
            return False
        pictures, structures, rows = 0, [], set()
        for unit in nal.units(packet, 0):
            if unit[0] == _MPEG_PICTURE:
                pictures += 1
                if unit[2] >> 3 & 7 == _MPEG_D_PICTURE:
                    return False
            elif unit[0] == _MPEG_EXTENSION and unit[1] >> 4 == _MPEG_CODING:
                structures.append(unit[3] & 3)
            elif unit[0] == _MPEG_SEQUENCE:
                self._height = (unit[2] & 15) << 8 | unit[3]
            elif unit[0] in _MPEG_SLICES:
                rows.add(unit[0])
        if self._codec == "mpeg1video":
            return pictures == 1
        if rows != set(range(1, len(rows) + 1)) or len(rows) * 16 * pictures < self._height:
            return False  # every row of macroblocks has its slices
        if pictures == 2:
            return sorted(structures) == _MPEG_FIELDS
        return pictures == 1 and structures == [_MPEG_FRAME]

    def _is_mpeg4_frame(self, packet: memoryview) -> bool:
        if self._mpeg4 is None or not _is_sound(packet, 0):
            return False
        return self._mpeg4.contents(packet)[0] == 1


def may_hide_pictures(codec: str, extradata: bytes) -> bool:
    """Whether slices of an HEVC stream may say that they are not shown."""
    try:
        units = [unit for unit in nal.parameter_sets(codec, extradata) if len(unit) > 2]
        return any(
            _hides_pictures(Bits(bytes(unit[2:18])))
            for unit in units
            if unit[0] >> 1 & 63 == _HEVC_PPS
        )
    except IndexError:
        return True


def _hides_pictures(bits: Bits) -> bool:
    """Whether slices under this HEVC picture parameter set may say that they are not shown."""
    bits.golomb()
    bits.golomb()
    bits.skip(1)
    return bool(bits.take(1))


def _is_sound(packet: memoryview, prefix: int) -> bool:
    """Whether neither the form of the packet nor its end speaks of bytes that were lost."""
    return nal.is_whole(packet, prefix) and bytes(packet[-4:]) != bytes(4)


def _is_jpeg(packet: memoryview) -> bool:
    return bytes(packet[:2]) == b"\xff\xd8" and bytes(packet[-64:]).rstrip(b"\0").endswith(
        b"\xff\xd9"
    )
