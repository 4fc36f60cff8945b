"""Attention windows over a token grid, and the copies that stand in for dropped tokens.

A grid (n_t, height, width) is padded to whole windows, rolled back by the shift and cut into
windows (Video Swin Transformer, section 3.2). These steps are a fixed permutation of the grid, so
they are stored as one table: for each position of each window, its index in the flattened grid.
Padding has the index after the last one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sta.models.base import shapes_alone

Size3 = tuple[int, int, int]


@dataclass(frozen=True)
class WindowShape:
    """How a grid is cut into windows.

    Attributes:
        grid_size: (n_t, height, width) in tokens.
        window_size: window in tokens, no larger than the grid.
        shift_size: shift against the windows of the block before.
        bias_window_size: window of the position-bias table, not clipped to the grid.
    """

    grid_size: Size3
    window_size: Size3
    shift_size: Size3
    bias_window_size: Size3

    @classmethod
    def fit(cls, grid_size: Size3, window_size: Size3, *, shifted: bool) -> WindowShape:
        """Clips the window to the grid; a side that one window covers is not shifted."""
        (t, h, w), (wt, wh, ww) = grid_size, window_size
        clipped = min(t, wt), min(h, wh), min(w, ww)
        dt, dh, dw = (
            window // 2 if shifted and window < size else 0
            for size, window in zip(grid_size, clipped, strict=True)
        )
        return cls(grid_size, clipped, (dt, dh, dw), bias_window_size=window_size)

    @property
    def grid_tokens(self) -> int:
        """Tokens of the whole grid, without padding."""
        return self.grid_size[0] * self.grid_size[1] * self.grid_size[2]

    @property
    def tokens(self) -> int:
        """Positions N in a window."""
        return self.window_size[0] * self.window_size[1] * self.window_size[2]

    @property
    def padded(self) -> Size3:
        """The grid, padded to whole windows."""
        t, h, w = (-(-g // w) * w for g, w in zip(self.grid_size, self.window_size, strict=True))
        return t, h, w

    @property
    def is_padded(self) -> bool:
        """Whether windows hold padding."""
        return self.padded != self.grid_size

    @property
    def count(self) -> int:
        """Number of windows."""
        t, h, w = (p // w for p, w in zip(self.padded, self.window_size, strict=True))
        return t * h * w


class WindowGrid(nn.Module):
    """Index tables of one window shape, as buffers that are not saved.

    Attributes:
        shape: how the grid is cut.
        order: (windows, N) int64, grid index of each position of each window; padding is
            `shape.grid_tokens`. Windows with equal parts are consecutive.
        parts: (windows, N) int64, the part of its window that a position belongs to. A shifted
            window at the border holds parts from opposite sides of the grid, which must not attend
            to each other; any other window is one part.
        regions: (regions, R) int64, positions that attend to each other, as `window * N +
            position`. A region is one part of one window; shorter regions are padded with -1.
        relative: (N, N) int64, row of the position-bias table for a query and a key.
        region_of: (grid_tokens,) int64, region of each grid index.
        lengths: positions in each region.
        equal_parts: [start, end) of each run of windows with equal parts.
    """

    relative: Tensor
    region_of: Tensor
    order: Tensor
    parts: Tensor
    regions: Tensor

    def __init__(self, shape: WindowShape) -> None:
        super().__init__()
        self.shape = shape
        if shapes_alone():
            return
        parts = _parts(shape)
        sorting, self.equal_parts = _by_parts(parts)
        parts = parts[sorting]
        regions = _regions(parts)
        order = _order(shape)[sorting]
        # A clipped window takes the corner of the full table, as the original models do.
        relative = relative_positions(shape.bias_window_size)[: shape.tokens, : shape.tokens]
        self.register_buffer("relative", relative.clone(), persistent=False)
        region_of = _region_of(order, regions)[: shape.grid_tokens]
        self.register_buffer("region_of", region_of, persistent=False)
        self.lengths = tuple((regions >= 0).sum(dim=1).tolist())
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("parts", parts, persistent=False)
        self.register_buffer("regions", regions, persistent=False)


def _order(shape: WindowShape) -> Tensor:
    indices = torch.full(shape.padded, shape.grid_tokens)
    t, h, w = shape.grid_size
    indices[:t, :h, :w] = torch.arange(shape.grid_tokens).view(shape.grid_size)
    return _partition(indices.roll([-s for s in shape.shift_size], dims=(0, 1, 2)), shape)


def _parts(shape: WindowShape) -> Tensor:
    parts = torch.zeros(shape.padded, dtype=torch.int64)
    for axis, (size, window, shift) in enumerate(
        zip(shape.padded, shape.window_size, shape.shift_size, strict=True)
    ):
        if shift:
            index = torch.arange(size)
            part = (index >= size - window).long() + (index >= size - shift).long()
            parts = 3 * parts + part.view([-1 if axis == a else 1 for a in range(3)])
    return _partition(parts, shape)


def _by_parts(parts: Tensor) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """An order of the windows by their parts, and the [start, end) of each run of equal parts."""
    members: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(parts):
        named = row.unique(return_inverse=True)[1]
        members.setdefault(tuple(named.tolist()), []).append(number)
    ends = list(itertools.accumulate(len(group) for group in members.values()))
    sorting = torch.tensor([number for group in members.values() for number in group])
    return sorting, tuple(zip([0, *ends[:-1]], ends, strict=True))


def _partition(values: Tensor, shape: WindowShape) -> Tensor:
    """(T, H, W) to (windows, N), windows and their positions in grid order."""
    (t, h, w), (wt, wh, ww) = shape.padded, shape.window_size
    cut = values.view(t // wt, wt, h // wh, wh, w // ww, ww)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, shape.tokens)


def _regions(parts: Tensor) -> Tensor:
    rows = [
        number * parts.shape[1] + (row == part).nonzero().flatten()
        for number, row in enumerate(parts)
        for part in row.unique()
    ]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def _region_of(order: Tensor, regions: Tensor) -> Tensor:
    region_of = torch.empty(int(order.max()) + 1, dtype=torch.int64)
    for number, row in enumerate(regions):
        region_of[order.flatten()[row[row >= 0]]] = number
    return region_of


def relative_positions(window: Size3) -> Tensor:
    """(N, N) int64: row of the position-bias table for a query and a key of one window.

    The table has (2 t - 1)(2 h - 1)(2 w - 1) rows, one per difference query - key.
    """
    axes = torch.meshgrid(*[torch.arange(size) for size in window], indexing="ij")
    index = torch.zeros(1, 1, dtype=torch.int64)
    for coordinate, size in zip(axes, window, strict=True):
        flat = coordinate.flatten()
        index = index * (2 * size - 1) + (flat[:, None] - flat[None, :] + size - 1)
    return index


def nearest_kept(mask: Tensor) -> Tensor:
    """For each position of a frame, the nearest position whose token is kept.

    The distance is Euclidean, within the frame. Of equal distances the lowest index (row by row) is
    taken. The nearest position of a kept token is its own.

    Args:
        mask: (..., height, width) bool with at least one True in each frame.

    Returns:
        (..., height * width) int64 indices in the frame.
    """
    height, width = mask.shape[-2:]
    size = height * width
    y = torch.arange(height, device=mask.device)
    x = torch.arange(width, device=mask.device)
    # One integer orders by distance, then by index. The squared distance is the sum of one along
    # the row and one across rows, so the search runs along each row and then across the rows.
    far = size * (height**2 + width**2)
    across = (x[:, None] - x[None, :]) ** 2 * size
    index = (y[:, None] * width + x[None, :])[:, None, :]
    along_row = torch.where(mask[..., None, :], across + index, far).amin(dim=-1)
    down = ((y[:, None] - y[None, :]) ** 2 * size)[:, :, None]
    best = (down + along_row[..., None, :, :]).amin(dim=-2)
    return (best % size).flatten(-2)


@dataclass(frozen=True)
class NearestFill:
    """The M kept tokens of each clip in a grid, and the token that fills each grid position.

    Attributes:
        indices: (B, M) int64, grid index of each kept token, ascending.
        source: (B, grid tokens) int64, the kept token (0 to M - 1) that fills each grid position.
    """

    indices: Tensor
    source: Tensor

    def gather(self, grid: Tensor) -> Tensor:
        """(B, grid tokens, C) to the kept tokens (B, M, C)."""
        return _take(grid, self.indices)

    def expand(self, tokens: Tensor) -> Tensor:
        """(B, M, C) to the whole grid (B, grid tokens, C)."""
        return _take(tokens, self.source)


def nearest_fill(mask: Tensor, *, kept: int, width: int) -> NearestFill:
    """Fills the positions of dropped tokens with the nearest kept token of their frame.

    Args:
        mask: (B, n_t, n_s) bool, True where a token is kept.
        kept: tokens kept per frame.
        width: tokens per row of a frame.
    """
    batch, temporal, _ = mask.shape
    nearest = nearest_kept(mask.view(batch, temporal, -1, width))
    number = mask.flatten(1).long().cumsum(dim=1).view_as(mask) - 1
    # A stable sort puts kept tokens first; their known number keeps shapes static.
    indices = (~mask).flatten(1).long().argsort(dim=1, stable=True)[:, : temporal * kept]
    return NearestFill(indices=indices, source=number.gather(-1, nearest).flatten(1))


def _take(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
