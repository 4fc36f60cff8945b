"""Attention within windows, over all places of a grid or over the tokens that are left of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.swin_sparse_windows import Bucket, ExactWindows
from sta.models.swin_windows import Filling, Size3, WindowGrid

# What Swin adds between parts of a window that must not see each other.
_APART = -100.0

# Weights of copies are summed relative to the head's largest bias. A bias further below counts as
# e^-80, which is still a float32 and no weight at all beside the others.
_SMALLEST_BIAS = -80.0


@dataclass(frozen=True)
class FilledWindows:
    """Whole windows of one stage of one batch, dropped places filled.

    Attributes:
        rows: (B, windows, N) int64, row in the flattened tokens of the batch of what stands at each
            position; padding is the last row of its clip.
        answers: (B * M) int64, position, among all of rows, of each token's own place.
        grid: the windows.
    """

    rows: Tensor
    answers: Tensor
    grid: WindowGrid


def filled_windows(filling: Filling, grid: WindowGrid) -> FilledWindows:
    """Plans attention over whole windows."""
    batch, tokens = filling.own.shape
    order = grid.order.flatten()
    first_row = torch.arange(batch, device=filling.own.device)[:, None]
    rows = F.pad(filling.source, (0, 1), value=tokens)[:, order]
    rows = rows + first_row * (tokens + grid.shape.is_padded)
    position = order.argsort(stable=True)[: grid.shape.places]
    answers = position[filling.own] + first_row * len(order)
    return FilledWindows(rows.view(batch, *grid.order.shape), answers.flatten(), grid)


class WindowAttention(nn.Module):
    """Multi-head attention with a learnt bias per relative position (Video Swin, equation 2).

    Args:
        width: channels C.
        heads: attention heads.
        window: window of the bias table, which may be larger than the windows attended to.
    """

    def __init__(self, width: int, heads: int, *, window: Size3) -> None:
        super().__init__()
        self.heads = heads
        t, h, w = window
        table = torch.zeros((2 * t - 1) * (2 * h - 1) * (2 * w - 1), heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, windows: FilledWindows | ExactWindows) -> tuple[Tensor, Tensor]:
        """Attends within windows.

        Args:
            x: (B, M, C) tokens, in the order of their places.
            windows: who attends to whom. Where they hold padding, it takes part in attention as
                in the original, which pads with zeros before the projection.

        Returns:
            The attended tokens (B, M, C), and their projections (B, M, 3, heads, C / heads).
        """
        batch, tokens, width = x.shape
        qkv = self.qkv(x)
        rows = qkv
        if windows.grid.shape.is_padded:
            zero = self.qkv.bias.to(qkv.dtype).expand(batch, 1, -1)
            rows = torch.cat([qkv, zero], dim=1)
        rows = rows.reshape(-1, 3 * width)
        if isinstance(windows, FilledWindows):
            mixed = self._filled(rows, windows)
        else:
            mixed = self._exact(rows, windows)
        out: Tensor = self.proj(mixed.view(batch, tokens, width))
        return out, qkv.view(batch, tokens, 3, self.heads, -1)

    def _split(self, rows: Tensor, groups: int) -> Tensor:
        """(groups * N, 3 C) to queries, keys and values (3, groups, heads, N, C / heads)."""
        length = rows.shape[0] // groups
        return rows.view(groups, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def _filled(self, rows: Tensor, windows: FilledWindows) -> Tensor:
        """Every query of every window to every key of it; the copies' outputs are left behind."""
        batch = windows.rows.shape[0]
        bias = self.relative_position_bias_table[windows.grid.relative].permute(2, 0, 1)
        bias = bias.to(rows.dtype).contiguous()
        outputs = []
        for start, end in windows.grid.alike:
            these = windows.rows[:, start:end]
            query, key, value = self._split(rows[these.flatten()], batch * (end - start)).unbind(0)
            part = windows.grid.parts[start]
            apart = (part[None, :] != part[:, None]).to(bias.dtype) * _APART
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=(bias + apart)[None]
            )
            outputs.append(mixed.transpose(1, 2).reshape(batch, these[0].numel(), -1))
        return torch.cat(outputs, dim=1).flatten(0, 1)[windows.answers]

    def _exact(self, rows: Tensor, windows: ExactWindows) -> Tensor:
        """Kept tokens to distinct keys, whose copies count through the position bias."""
        bias = self.relative_position_bias_table
        table = bias.to(torch.promote_types(bias.dtype, torch.float32))
        weights = (table - table.amax(dim=0)).clamp(min=_SMALLEST_BIAS).exp()
        outputs = []
        for bucket in windows.buckets:
            query, key, value = self._split(rows[bucket.rows.flatten()], len(bucket.rows)).unbind(0)
            query = query[:, :, : bucket.is_query.shape[1]]
            merged = merged_bias(weights, bucket).to(query.dtype)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=merged)
            outputs.append(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(outputs)[windows.answers]


def merged_bias(weights: Tensor, bucket: Bucket) -> Tensor:
    """Log of the summed weights of each key's copies; -inf for what is no key.

    Args:
        weights: (rows of the bias table, heads) exp of the biases.
        bucket: G regions of Q queries and K keys.

    Returns:
        (G, heads, Q, K).
    """
    count, keys = bucket.rows.shape
    summed = F.embedding_bag(bucket.relative, weights, bucket.offsets, mode="sum")
    bias = summed.view(count, -1, keys + 1, weights.shape[1])[:, :, :keys].log()
    return bias.permute(0, 3, 1, 2)
