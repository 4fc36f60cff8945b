"""What goes into a labeler and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Frames:
    """One unit's pixels on their way to the model.

    Attributes:
        unit_id: whose they are.
        pixels: uint8 (n, height, width, 3), RGB, resized as the protocol says; read, never
            written, and not kept.
        clip_frames: int (clips, T), rows of `pixels`.
    """

    unit_id: str
    pixels: npt.NDArray[np.uint8]
    clip_frames: npt.NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """What the model said of one clip under one crop.

    Attributes:
        clip: number of the clip.
        crop: number of the crop.
        probabilities: float32 (classes,).
        kept: one bool array (n_t, n_s) per pruning stage.
        flops: multiply-accumulates that this view cost, fvcore's convention.
        device_ms: device time of the batch over the number of its views, milliseconds.
    """

    clip: int
    crop: int
    probabilities: npt.NDArray[np.float32]
    kept: tuple[npt.NDArray[np.bool_], ...]
    flops: int
    device_ms: float


class IdMismatch(RuntimeError):  # noqa: N818
    """A batch came back with other ids than it went in with; its labels must not be used."""


def frames_of(decoded: pa.Table, index: int) -> Frames:
    """The pixels of one row of DECODED_SCHEMA, on the table's own memory."""
    shape = decoded["frames_shape"][index].as_py()
    pixels = np.frombuffer(decoded["frames"][index].as_buffer(), dtype=np.uint8).reshape(shape)
    clip_times = decoded["clip_times"][index].as_py()
    clip_frames = np.array(decoded["clip_frames"][index].as_py(), dtype=np.int32)
    return Frames(
        unit_id=decoded["unit_id"][index].as_py(),
        pixels=pixels,
        clip_frames=clip_frames.reshape(len(clip_times) // 2, -1),
    )
