"""How much the picture of a view changes, from its uint8 frames alone.

Frames are compared by the means of their blocks. A block's mean averages a camera's or a codec's
noise out, and its edge is a ViT's patch, so what is left is change that tokens can see. It costs
about a hundredth of a small model's forward pass.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workers.sampling import Protocol
from workers.views import Frames

BLOCK = 16
"""Edge of a block, pixels."""


def block_means(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean brightness of each block of each frame.

    Args:
        frames: (n, height, width, 3), each edge BLOCK or more; what is left over at the bottom and
            on the right is left out.

    Returns:
        (n, height // BLOCK, width // BLOCK), means over a block's pixels and colours, 0 to 255.
    """
    count, height, width, colours = frames.shape
    if min(height, width) < BLOCK:
        raise ValueError(f"frames must be {BLOCK} x {BLOCK} pixels or more; got {height} x {width}")
    rows, columns = height // BLOCK, width // BLOCK
    whole = frames[:, : rows * BLOCK, : columns * BLOCK]
    # First over the rows, along memory; at most 16 * 255, which 16 bits hold.
    strips = whole.reshape(count, rows, BLOCK, -1).sum(axis=2, dtype=np.uint16)
    sums = strips.reshape(count, rows, columns, -1).sum(axis=3, dtype=np.uint32)
    return np.asarray(sums / (BLOCK * BLOCK * colours), np.float32)


def changes(unit: Frames, protocol: Protocol) -> npt.NDArray[np.float32]:
    """Change of the picture in every view: the mean over consecutive frames of the clip and over
    the blocks of the crop of |difference of the blocks' means|.

    Args:
        unit: a unit's frames.
        protocol: whose crops are taken.

    Returns:
        (views,), clip by clip and crop by crop, 0 (a still picture) to 255.
    """
    size = protocol.size
    out = np.empty((len(unit.clip_frames), protocol.crops), np.float32)
    for crop, (top, left) in enumerate(protocol.crop_origins(*unit.pixels.shape[1:3]).tolist()):
        means = block_means(unit.pixels[:, top : top + size, left : left + size])
        clips = means[unit.clip_frames]
        out[:, crop] = np.abs(np.diff(clips, axis=1)).mean(axis=(1, 2, 3))
    return out.reshape(-1)
