"""Normalization of uint8 pixels with the mean and standard deviation of the training."""

from __future__ import annotations

import torch
from torch import Tensor

from sta.models.configs import Color


def normalized(clips: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) to float32 (B, 3, T, H, W): scaled to 1, less mean, over std.

    torch.compile fuses the expression into one kernel. `mean` and `std` (3,) must be on the device
    already: a CUDA graph cannot copy them there.
    """
    return ((clips.float() / 255 - mean) / std).permute(0, 4, 1, 2, 3)


class CachedNormalizer:
    """`normalized` on a CPU, one frame at a time so that it stays in the cache.

    The output memory is reused by every call.

    Args:
        clips: the uint8 (B, T, H, W, 3) that every call will normalize.
        mean: as for `normalized`.
        std: as for `normalized`.
    """

    def __init__(self, clips: Tensor, mean: Color, std: Color) -> None:
        batch, frames, height, width, channels = clips.shape
        self._out = torch.empty(clips.shape)
        # Rows of interleaved channels vectorize well.
        flat = (batch * frames, height, width * channels)
        self._pairs = list(zip(clips.view(flat), self._out.view(flat), strict=True))
        self._mean = torch.tensor(mean).repeat(width)
        self._std = torch.tensor(std).repeat(width)

    def __call__(self) -> Tensor:
        """float32 (B, 3, T, H, W), valid until the next call."""
        for frame, out in self._pairs:
            torch.div(frame, 255, out=out)
            out.sub_(self._mean).div_(self._std)
        return self._out.permute(0, 4, 1, 2, 3)
