"""Attention of all tokens to all tokens: torch's fused kernel, or batched products in bfloat16."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Bytes of the scores that are computed at once: what fits the second-level cache of most cores.
_SCORES_BYTES = 1 << 20


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(d)) value, of tensors (B, heads, N, d).

    torch's fused kernel computes bfloat16 on a CPU at the speed of float32, so there its products
    are computed in chunks.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return chunked_attention(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def chunked_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`attention` by batched products over chunks of queries, whose scores stay in the cache.

    It equals `F.scaled_dot_product_attention` but for rounding: scores and probabilities are
    rounded to the tensors' type between the products. The chunks follow from the shapes alone.
    """
    batch, heads, tokens, channels = query.shape
    query = (query * channels**-0.5).flatten(0, 1)
    key, value = key.flatten(0, 1).transpose(1, 2), value.flatten(0, 1)
    row = tokens * query.element_size()
    length = max(1, min(tokens, _SCORES_BYTES // row))
    together = max(1, _SCORES_BYTES // (length * row))
    attended = []
    for first in range(0, batch * heads, together):
        some = slice(first, first + together)
        parts = [
            torch.bmm(torch.bmm(part, key[some]).softmax(dim=-1), value[some])
            for part in torch.split(query[some], length, dim=1)
        ]
        attended.append(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
    return torch.cat(attended).view(batch, heads, tokens, channels)
