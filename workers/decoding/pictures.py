"""Checks from headers that each packet of a stream without an index holds a whole picture.

`bitstream` counts the frames that a packet shows. Without an index a packet may also hold one field
of a frame, or a damaged rest, and packets may be missing. What the headers do not prove counts as
not whole.

Sources: ITU-T H.264, 7.3.2.2 and 7.3.3; ITU-T H.265, 7.3.2.3.1 and 7.3.6.1; ITU-T H.262, 6.2.2 and
6.2.4; ITU-T T.81, B.1.1.3.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from workers.decoding import nal
from workers.decoding.bits import Bits
from workers.decoding.h264_sequence import Sequence, read_sequence

_H264_SPS, _H264_PPS = 7, 8
_H264_PARTITIONS = (2, 3, 4)
_HEVC_PARAMETERS = (32, 33, 34)
_HEVC_PPS = 34
_MPEG_PICTURE, _MPEG_SEQUENCE = 0x00, 0xB3
_MPEG_SLICES = range(0x01, 0xB0)  # a slice's code is its row of macroblocks
_CUT_OFF = bytes(4)


class Pictures:
    """Checks the packets of one stream, in order from the first, for whole pictures.

    ``codec`` and ``extradata`` are as in `nal.framing`.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._framing = nal.framing(codec, extradata) or 0
        self._first = True
        self._parameters: set[bytes] = set()
        self._sequences: dict[int, Sequence] = {}
        self._used: dict[int, int] = {}
        self._reference: int | None = None
        self._height = 0
        checks: dict[str, Callable[[memoryview], bool]] = {
            "h264": self._is_whole_h264,
            "hevc": self._is_whole_hevc,
            "mpeg1video": lambda packet: nal.is_whole(packet, 0),
            "mpeg2video": self._is_whole_mpeg2,
            "mpeg4": lambda packet: _is_sound(packet, 0),
            "mjpeg": _is_whole_jpeg,
        }
        self._check = checks.get(codec, _nothing_tells)
        with suppress(IndexError):  # what is missing in them is missed when it is needed
            for unit in nal.parameter_sets(codec, extradata or b""):
                self._learn(bytes(unit))

    def is_whole(self, packet: memoryview) -> bool:
        """Whether the picture in ``packet`` is a whole frame, wherever decoding begins before it.

        True where the codec has nothing that would tell.
        """
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

    def _is_whole_h264(self, packet: memoryview) -> bool:
        if not _is_sound(packet, self._framing):
            return False
        starts = 0
        for unit in nal.units(packet, self._framing):
            kind = unit[0] & 31
            if unit[0] & 128 or kind in _H264_PARTITIONS:
                return False
            if kind in (_H264_SPS, _H264_PPS):
                if not self._known(unit):
                    return False
            elif kind in (1, nal.H264_IDR):
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

    def _is_whole_hevc(self, packet: memoryview) -> bool:
        if not _is_sound(packet, self._framing):
            return False
        for unit in nal.units(packet, self._framing):
            kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
            if unit[0] & 128 or layer:
                return False
            if kind in _HEVC_PARAMETERS and not self._known(unit):
                return False
            if kind == _HEVC_PPS and _hides_pictures(Bits(bytes(unit[2:18]))):
                return False
        return True

    def _is_whole_mpeg2(self, packet: memoryview) -> bool:
        if not nal.is_whole(packet, 0):
            return False
        pictures, rows = 0, set()
        for unit in nal.units(packet, 0):
            if unit[0] == _MPEG_PICTURE:
                pictures += 1
            elif unit[0] == _MPEG_SEQUENCE:
                self._height = (unit[2] & 15) << 8 | unit[3]
            elif unit[0] in _MPEG_SLICES:
                rows.add(unit[0])
        return rows == set(range(1, len(rows) + 1)) and len(rows) * 16 * pictures >= self._height


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


def _nothing_tells(packet: memoryview) -> bool:
    return True


def _is_sound(packet: memoryview, prefix: int) -> bool:
    """Whether neither the form of the packet nor its end speaks of bytes that were lost."""
    return nal.is_whole(packet, prefix) and bytes(packet[-len(_CUT_OFF) :]) != _CUT_OFF


def _hides_pictures(bits: Bits) -> bool:
    """Whether slices under this HEVC picture parameter set may say that they are not shown."""
    bits.golomb()
    bits.golomb()
    bits.skip(1)
    return bool(bits.take(1))


def _is_whole_jpeg(packet: memoryview) -> bool:
    return bytes(packet[-64:]).rstrip(b"\0").endswith(b"\xff\xd9")
