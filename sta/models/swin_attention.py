"""Window attention: dense over whole windows, or sparse over the kept tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.swin_sparse_windows import Bucket, SparseWindows
from sta.models.swin_windows import NearestFill, Size3, WindowGrid

# Swin adds this to the logits between parts of a window that must not attend to each other.
_MASKED_LOGIT = -100.0

# Weights of copies are summed relative to the head's largest bias. Smaller biases are clamped to
# e^-80, which is a normal float32 and negligible beside the other weights.
_MIN_RELATIVE_BIAS = -80.0


@dataclass(frozen=True)
class DenseWindows:
    """Whole windows of one stage of one batch, with copies at dropped positions.

    Attributes:
        rows: (B, windows, N) int64, for each window position the row of its token in the flattened
            tokens of the batch; padding is the last row of its clip.
        outputs: (B * M) int64, for each kept token its position in the flattened `rows`.
        grid: the windows.
    """

    rows: Tensor
    outputs: Tensor
    grid: WindowGrid


def dense_windows(fill: NearestFill, grid: WindowGrid) -> DenseWindows:
    """Plans attention over whole windows."""
    batch, tokens = fill.indices.shape
    order = grid.order.flatten()
    clip = torch.arange(batch, device=fill.indices.device)[:, None]
    rows = F.pad(fill.source, (0, 1), value=tokens)[:, order]
    rows = rows + clip * (tokens + grid.shape.is_padded)
    position = order.argsort(stable=True)[: grid.shape.grid_tokens]
    outputs = position[fill.indices] + clip * len(order)
    return DenseWindows(rows.view(batch, *grid.order.shape), outputs.flatten(), grid)


class WindowAttention(nn.Module):
    """Multi-head attention with a learned bias per relative position (Video Swin, equation 2).

    Args:
        dim: channels C.
        num_heads: attention heads.
        window_size: window of the bias table; the windows may be smaller, clipped to the grid.
    """

    def __init__(self, dim: int, num_heads: int, *, window_size: Size3) -> None:
        super().__init__()
        self.num_heads = num_heads
        t, h, w = window_size
        table = torch.zeros((2 * t - 1) * (2 * h - 1) * (2 * w - 1), num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, windows: DenseWindows | SparseWindows) -> tuple[Tensor, Tensor]:
        """Computes attention within windows.

        Args:
            x: (B, M, C) kept tokens in grid order.
            windows: which tokens attend to each other. Padding takes part in attention, as in the
                original, which pads with zeros before the projection.

        Returns:
            The attended tokens (B, M, C), and their projections (B, M, 3, heads, C / heads).
        """
        batch, tokens, dim = x.shape
        qkv = self.qkv(x)
        rows = qkv
        if windows.grid.shape.is_padded:
            zero = self.qkv.bias.to(qkv.dtype).expand(batch, 1, -1)
            rows = torch.cat([qkv, zero], dim=1)
        rows = rows.reshape(-1, 3 * dim)
        if isinstance(windows, DenseWindows):
            attended = self._dense(rows, windows)
        else:
            attended = self._sparse(rows, windows)
        out: Tensor = self.proj(attended.view(batch, tokens, dim))
        return out, qkv.view(batch, tokens, 3, self.num_heads, -1)

    def _split(self, rows: Tensor, groups: int) -> Tensor:
        """(groups * N, 3 C) to queries, keys and values (3, groups, heads, N, C / heads)."""
        length = rows.shape[0] // groups
        return rows.view(groups, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)

    def _dense(self, rows: Tensor, windows: DenseWindows) -> Tensor:
        """Every query of a window to every key of it; outputs of copies are discarded."""
        batch = windows.rows.shape[0]
        bias = self.relative_position_bias_table[windows.grid.relative].permute(2, 0, 1)
        bias = bias.to(rows.dtype).contiguous()
        outputs = []
        for start, end in windows.grid.equal_parts:
            run = windows.rows[:, start:end]
            query, key, value = self._split(rows[run.flatten()], batch * (end - start)).unbind(0)
            part = windows.grid.parts[start]
            mask = (part[None, :] != part[:, None]).to(bias.dtype) * _MASKED_LOGIT
            attended = F.scaled_dot_product_attention(
                query, key, value, attn_mask=(bias + mask)[None]
            )
            outputs.append(attended.transpose(1, 2).reshape(batch, run[0].numel(), -1))
        return torch.cat(outputs, dim=1).flatten(0, 1)[windows.outputs]

    def _sparse(self, rows: Tensor, windows: SparseWindows) -> Tensor:
        """Kept tokens to distinct keys; the position bias accounts for their copies."""
        bias = self.relative_position_bias_table
        table = bias.to(torch.promote_types(bias.dtype, torch.float32))
        weights = (table - table.amax(dim=0)).clamp(min=_MIN_RELATIVE_BIAS).exp()
        outputs = []
        for bucket in windows.buckets:
            query, key, value = self._split(rows[bucket.rows.flatten()], len(bucket.rows)).unbind(0)
            query = query[:, :, : bucket.is_query.shape[1]]
            merged = merged_bias(weights, bucket).to(query.dtype)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=merged)
            outputs.append(attended.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(outputs)[windows.outputs]


def merged_bias(weights: Tensor, bucket: Bucket) -> Tensor:
    """Log of the summed weights of each key's copies; -inf for padding keys.

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
