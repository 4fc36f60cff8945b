"""Fields of an H.264 sequence parameter set that are needed to parse slice headers (7.3.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from workers.decoding.bits import Bits

_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


@dataclass(frozen=True)
class Sequence:
    """Fields of a sequence parameter set.

    ``fields``: pictures may be fields. ``plane_bits``, ``number_bits``: of color_plane_id and of
    frame_num.
    """

    fields: bool
    plane_bits: int
    number_bits: int


def read_sequence(bits: Bits) -> tuple[int, Sequence]:
    """(number, contents) of a sequence parameter set, behind its first byte."""
    profile = bits.take(8)
    bits.skip(16)
    number = bits.golomb()
    separate = 0
    if profile in _WITH_CHROMA:
        chroma = bits.golomb()
        if chroma == 3:
            separate = bits.take(1)
        bits.golomb()  # bit_depth_luma_minus8
        bits.golomb()  # bit_depth_chroma_minus8
        bits.skip(1)
        if bits.take(1):  # seq_scaling_matrix_present_flag
            for place in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if place < 6 else 64)
    number_bits = bits.golomb() + 4
    order = bits.golomb()  # pic_order_cnt_type
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.skip(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.skip(1)
    bits.golomb()  # pic_width_in_mbs_minus1
    bits.golomb()  # pic_height_in_map_units_minus1
    fields = not bits.take(1)  # frame_mbs_only_flag
    return number, Sequence(fields, plane_bits=2 * separate, number_bits=number_bits)


def _skip_scaling_list(bits: Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last
