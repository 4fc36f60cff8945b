"""Attention to tokens that stand for several others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sta.models.columnar import Attention, Block


def attend(block: Block, x: Tensor, sizes: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first half of a block, without its MLP.

    Args:
        block: of a model without rotary positions.
        x: (B, N, d) tokens.
        sizes: (B, N) for proportional attention; None for the block's own.

    Returns:
        (B, N, d) tokens, and (B, N, d / heads) keys averaged over heads, at least float32.
    """
    hidden = block.norm1(x)
    if sizes is None:
        attended, qkv = block.attn(hidden)
    else:
        attended, qkv = proportional_attention(block.attn, hidden, sizes)
    keys: Tensor = qkv[1].mean(dim=1, dtype=torch.promote_types(x.dtype, torch.float32))
    return x + attended, keys


def weighted(x: Tensor, sizes: Tensor, tokens: int) -> Tensor:
    """Tokens (B, N, d) times their sizes (B, N), scaled so that their mean is that of all `tokens`
    tokens that they stand for.
    """
    return x * (sizes[..., None] * (x.shape[1] / tokens)).to(x.dtype)


def proportional_attention(attention: Attention, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Attention in which a token of size s counts as s equal ones (ToMe, section 3, equation 1).

    The logarithm of its size is added to the scores of a key.

    Args:
        attention: of a block, without rotary positions.
        x: (B, N, d) normalized tokens.
        sizes: (B, N) how many tokens each stands for, 1 or more.

    Returns:
        The attended (B, N, d) and the projections (3, B, heads, N, d / heads).
    """
    batch, tokens, _ = x.shape
    query_bias, key_bias = attention.q_bias, attention.k_bias
    no_bias = torch.zeros_like(query_bias)
    parts = (query_bias, no_bias if key_bias is None else key_bias, attention.v_bias)
    bias = torch.cat(parts)
    qkv = F.linear(x, attention.qkv.weight, bias)
    qkv = qkv.view(batch, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    mask = sizes.log().to(query.dtype)[:, None, None]
    heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attention.proj(heads.transpose(1, 2).reshape(x.shape)), qkv
