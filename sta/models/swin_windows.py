"""Windows over a grid of tokens, and what stands in the places of tokens that were dropped.

A grid (n_t, height, width) is padded to whole windows, rolled back by the shift and cut into
windows (Video Swin Transformer, section 3.2). All of that is a fixed order of places, so here it is
one: a table that names, for each position of each window, the place of the grid it shows. Padding
has the number after the last place.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Size3 = tuple[int, int, int]


@dataclass(frozen=True)
class WindowShape:
    """How a grid is cut into windows.

    Attributes:
        grid: (n_t, height, width) in tokens.
        window: window in tokens, no larger than the grid.
        shift: how far the windows are shifted against those of the block before.
        full_window: the window before it was clipped to the grid: that of the position biases.
    """

    grid: Size3
    window: Size3
    shift: Size3
    full_window: Size3

    @classmethod
    def fit(cls, grid: Size3, window: Size3, *, shifted: bool) -> WindowShape:
        """Clips the window to the grid; a side that one window covers is not shifted."""
        clipped = (
            min(grid[0], window[0]),
            min(grid[1], window[1]),
            min(grid[2], window[2]),
        )
        shift = [w // 2 if shifted and w < g else 0 for g, w in zip(grid, clipped, strict=True)]
        return cls(grid, clipped, (shift[0], shift[1], shift[2]), full_window=window)

    @property
    def places(self) -> int:
        """Places of the grid, without padding."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def tokens(self) -> int:
        """Positions N in a window."""
        return self.window[0] * self.window[1] * self.window[2]

    @property
    def padded(self) -> Size3:
        """The grid, padded to whole windows."""
        t, h, w = (-(-g // w) * w for g, w in zip(self.grid, self.window, strict=True))
        return t, h, w

    @property
    def is_padded(self) -> bool:
        """Whether windows hold padding."""
        return self.padded != self.grid

    @property
    def count(self) -> int:
        """Number of windows."""
        t, h, w = (p // w for p, w in zip(self.padded, self.window, strict=True))
        return t * h * w


class WindowGrid(nn.Module):
    """The tables of one window shape, as buffers that move with the model and are not saved.

    Attributes:
        shape: how the grid is cut.
        order: (windows, N) int64, the place that each position of each window shows; padding is
            `shape.places`. Windows in equal parts stand side by side.
        parts: (windows, N) int64, which part of its window a position belongs to. A shifted window
            at the border holds pieces from opposite sides of the grid, which must not see each
            other; elsewhere the whole window is one part.
        regions: (regions, R) int64, positions that attend to each other, as `window * N +
            position`. A region is one part of one window; shorter ones are filled up with -1.
        relative: (N, N) int64, row of the position-bias table for a query and a key.
        home: (places,) int64, the region that each place is in.
        lengths: positions in each region.
        alike: [start, end) of the windows that are in equal parts, for each way to be.
    """

    relative: Tensor
    home: Tensor
    order: Tensor
    parts: Tensor
    regions: Tensor

    def __init__(self, shape: WindowShape) -> None:
        super().__init__()
        self.shape = shape
        parts = _parts(shape)
        sorting, self.alike = _side_by_side(parts)
        parts = parts[sorting]
        regions = _regions(parts)
        order = _order(shape)[sorting]
        # A clipped window takes the corner of the full table, as the original models do.
        relative = relative_positions(shape.full_window)[: shape.tokens, : shape.tokens]
        self.register_buffer("relative", relative.clone(), persistent=False)
        self.register_buffer("home", _home(order, regions)[: shape.places], persistent=False)
        self.lengths = tuple((regions >= 0).sum(dim=1).tolist())
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("parts", parts, persistent=False)
        self.register_buffer("regions", regions, persistent=False)


def _order(shape: WindowShape) -> Tensor:
    places = torch.full(shape.padded, shape.places)
    t, h, w = shape.grid
    places[:t, :h, :w] = torch.arange(shape.places).view(shape.grid)
    return _partition(places.roll([-s for s in shape.shift], dims=(0, 1, 2)), shape)


def _parts(shape: WindowShape) -> Tensor:
    parts = torch.zeros(shape.padded, dtype=torch.int64)
    for axis, (size, window, shift) in enumerate(
        zip(shape.padded, shape.window, shape.shift, strict=True)
    ):
        if shift:
            place = torch.arange(size)
            piece = (place >= size - window).long() + (place >= size - shift).long()
            parts = 3 * parts + piece.view([-1 if axis == a else 1 for a in range(3)])
    return _partition(parts, shape)


def _side_by_side(parts: Tensor) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """An order of the windows, and where in it those begin and end that are in equal parts."""
    members: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(parts):
        named = row.unique(return_inverse=True)[1]
        members.setdefault(tuple(named.tolist()), []).append(number)
    ends = list(itertools.accumulate(len(group) for group in members.values()))
    sorting = torch.tensor([number for group in members.values() for number in group])
    return sorting, tuple(zip([0, *ends[:-1]], ends, strict=True))


def _partition(values: Tensor, shape: WindowShape) -> Tensor:
    """(T, H, W) to (windows, N), windows and positions in them in the order of the grid."""
    (t, h, w), (wt, wh, ww) = shape.padded, shape.window
    cut = values.view(t // wt, wt, h // wh, wh, w // ww, ww)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, shape.tokens)


def _regions(parts: Tensor) -> Tensor:
    rows = [
        number * parts.shape[1] + (row == part).nonzero().flatten()
        for number, row in enumerate(parts)
        for part in row.unique()
    ]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def _home(order: Tensor, regions: Tensor) -> Tensor:
    home = torch.empty(int(order.max()) + 1, dtype=torch.int64)
    for number, row in enumerate(regions):
        home[order.flatten()[row[row >= 0]]] = number
    return home


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
    """For each place of a frame, the nearest place that is kept.

    Nearest is by Euclidean distance within the frame; among equals the lowest place (row by row)
    wins, so that the answer depends on the mask alone. A kept place is its own nearest.

    Args:
        mask: (..., height, width) bool with at least one True in each frame.

    Returns:
        (..., height * width) int64 places in the frame.
    """
    height, width = mask.shape[-2:]
    places = height * width
    y = torch.arange(height, device=mask.device)
    x = torch.arange(width, device=mask.device)
    # One integer orders by distance, then by place; the squared distance splits into a search
    # along each row and one across the rows.
    far = places * (height**2 + width**2)
    across = (x[:, None] - x[None, :]) ** 2 * places
    own = (y[:, None] * width + x[None, :])[:, None, :]
    along_row = torch.where(mask[..., None, :], across + own, far).amin(dim=-1)
    down = ((y[:, None] - y[None, :]) ** 2 * places)[:, :, None]
    best = (down + along_row[..., None, :, :]).amin(dim=-2)
    return (best % places).flatten(-2)


@dataclass(frozen=True)
class Filling:
    """Where the M kept tokens of each clip stand in a grid, and what fills the rest.

    Attributes:
        own: (B, M) int64, place of each token, ascending.
        source: (B, places) int64, number of the token that stands in each place.
    """

    own: Tensor
    source: Tensor

    def gather(self, grid: Tensor) -> Tensor:
        """(B, places, C) to the kept tokens (B, M, C)."""
        return _take(grid, self.own)

    def spread(self, tokens: Tensor) -> Tensor:
        """(B, M, C) to all places (B, places, C)."""
        return _take(tokens, self.source)


def fill(mask: Tensor, *, kept: int, width: int) -> Filling:
    """Fills the places of dropped tokens with the nearest kept token of their frame.

    Args:
        mask: (B, n_t, n_s) bool, True where a token is kept.
        kept: tokens kept per frame.
        width: places per row of a frame.
    """
    batch, slots, _ = mask.shape
    nearest = nearest_kept(mask.view(batch, slots, -1, width))
    number = mask.flatten(1).long().cumsum(dim=1).view_as(mask) - 1
    # Kept places come first in a stable sort; that their number is known keeps shapes static.
    own = (~mask).flatten(1).long().argsort(dim=1, stable=True)[:, : slots * kept]
    return Filling(own=own, source=number.gather(-1, nearest).flatten(1))


def _take(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
