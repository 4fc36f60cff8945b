"""Conversion of decoded frames to RGB, with color matrices that FFmpeg's scaler lacks.

Matrices are numbered as in ITU-T H.273, 8.3, and in FFmpeg. YCgCo is computed here. A
chromaticity-derived matrix is that of its primaries where FFmpeg knows these. The reserved number
counts as unspecified. Frames with any other matrix that FFmpeg cannot convert fail with its name.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from workers.failures import ErrorType, UnitFailure

Pixels = npt.NDArray[np.uint8]

UNSPECIFIED = 2
_RESERVED, _YCGCO, _DERIVED = 3, 8, 12
_DERIVED_FROM = {1: 1, 4: 4, 5: 5, 6: 6, 7: 7, 9: 9}  # primaries: the matrix that follows from them
_REFUSED = {
    10: "BT.2020 constant luminance",
    11: "SMPTE ST 2085 (Y'D'zD'x)",
    12: "chromaticity-derived, of primaries that are not known here",
    13: "chromaticity-derived constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_FULL_RANGE = 2

# Pixel formats of a GPU's pictures, whose chroma components share a plane.
_PLANAR = {"nv12": "yuv420p", "nv16": "yuv422p", "p010le": "yuv420p10le", "p012le": "yuv420p12le"}


def is_plain(matrix: int) -> bool:
    """Whether every decoder converts a stream of this color matrix as its number says."""
    return matrix not in (_RESERVED, _YCGCO, _DERIVED) and matrix not in _REFUSED


def rgb(frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
    """uint8 (height, width, 3); raises UnitFailure, which names what cannot be converted."""
    frame = in_memory(frame, reformatter)
    try:
        return _converted(frame, reformatter)
    except MemoryError:
        raise
    except (OSError, ValueError) as error:
        return _by_definition(frame, reformatter, error)


def in_memory(frame: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
    """The frame; one that lies on a GPU is copied to memory.

    Its planes are then arranged as FFmpeg's own decoders arrange them, without loss: FFmpeg's
    scaler rounds the colors of other arrangements differently.
    """
    held = frame.sw_format
    return frame if held is None else planar(frame, held.name, reformatter)


def planar(frame: VideoFrame, layout: str, reformatter: VideoReformatter) -> VideoFrame:
    """The frame with each component in a plane of its own; ``layout`` is its pixel format."""
    return reformatter.reformat(frame, format=_PLANAR.get(layout, layout), threads=1)


def _by_definition(frame: VideoFrame, reformatter: VideoReformatter, refusal: Exception) -> Pixels:
    matrix, primaries = int(frame.colorspace), int(frame.color_primaries)
    if matrix in _REFUSED and not (matrix == _DERIVED and primaries in _DERIVED_FROM):
        raise UnitFailure(
            ErrorType.unsupported_codec,
            f"the color matrix {_REFUSED[matrix]} ({matrix}) cannot be converted to RGB",
        )
    try:
        if matrix == _YCGCO:
            return _from_ycgco(frame, reformatter)
        frame.colorspace = _DERIVED_FROM[primaries] if matrix == _DERIVED else UNSPECIFIED
        return _converted(frame, reformatter)
    except MemoryError:
        raise
    except (OSError, ValueError):
        words = getattr(refusal, "strerror", None) or str(refusal)
        raise UnitFailure(
            ErrorType.unsupported_codec,
            f"the pixel format {frame.format.name} cannot be converted to RGB: {words}",
        ) from None


def _converted(frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
    converted = reformatter.reformat(frame, format="rgb24", threads=1)
    return np.asarray(converted.to_ndarray(), dtype=np.uint8)


def _from_ycgco(frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
    """Of limited range, R, G and B themselves go from 16 to 235, and the differences with them."""
    deep = frame.format.components[0].bits > 8
    frame.colorspace = UNSPECIFIED
    pixels = reformatter.reformat(
        frame,
        format="yuv444p16le" if deep else "yuv444p",
        src_color_range=frame.color_range,
        dst_color_range=frame.color_range,
        threads=1,
    ).to_ndarray()
    planes = np.moveaxis(pixels, -1, 0) / np.float32(256) if deep else pixels.astype(np.float32)
    y, cg, co = planes
    cg, co = cg - 128, co - 128
    values = np.stack([y - cg + co, y + cg, y - cg - co], axis=-1)
    if int(frame.color_range) != _FULL_RANGE:
        values = (values - 16) * (255 / 219)
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
