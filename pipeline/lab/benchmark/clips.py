"""Clips to time models with: a still background, something that moves, some noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_NOISE = 0.05


def moving_clips(batch: int, shape: tuple[int, int, int, int]) -> Tensor:
    """Float32 (batch, 3, T, H, W) of about unit variance, the same for the same arguments."""
    channels, frames, height, width = shape
    draw = torch.Generator().manual_seed(0)

    def texture(cells: int, size: tuple[int, int]) -> Tensor:
        coarse = torch.randn(batch, channels, cells, cells, generator=draw)
        return F.interpolate(coarse, size=size, mode="bilinear")

    still = texture(7, (height, width))
    side = height // 3
    thing = 2 * texture(4, (side, side))
    clip = still[:, :, None].repeat(1, 1, frames, 1, 1)
    for frame in range(frames):
        left = (width - side) * frame // max(frames - 1, 1)
        clip[:, :, frame, side : 2 * side, left : left + side] = thing
    return clip + _NOISE * torch.randn(clip.shape, generator=draw)
