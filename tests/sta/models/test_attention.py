"""Attention by chunks of queries equals the fused kernel, whatever the shapes."""

import pytest
import torch
import torch.nn.functional as F

import sta
from sta.models.attention import attention, chunked_attention

SHAPES = [(1, 2, 1568, 64), (2, 3, 672, 64), (4, 6, 392, 32), (3, 5, 7, 8), (1, 1, 1, 4)]


def projections(shape, dtype, seed=0):
    """Queries, keys and values that share their memory, as a linear layer gives them."""
    batch, heads, tokens, channels = shape
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(batch, tokens, 3, heads, channels, generator=generator, dtype=torch.float64)
    return qkv.to(dtype).permute(2, 0, 3, 1, 4).unbind(0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_float64_the_chunks_are_the_fused_kernel(shape):
    operands = projections(shape, torch.float64)
    want = F.scaled_dot_product_attention(*operands)
    torch.testing.assert_close(chunked_attention(*operands), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_bfloat16_they_differ_by_its_rounding(shape):
    operands = projections(shape, torch.bfloat16)
    exact = F.scaled_dot_product_attention(*(each.double() for each in operands))
    found = attention(*operands)
    assert (found.dtype, found.shape) == (torch.bfloat16, exact.shape)
    assert (found.double() - exact).norm() <= 2**-7 * exact.norm()
    fused = F.scaled_dot_product_attention(*operands)
    assert (found.double() - exact).norm() <= 3 * (fused.double() - exact).norm()


def test_large_scores_do_not_overflow():
    query, key, value = projections((1, 2, 64, 8), torch.bfloat16)
    found = attention(300 * query, 300 * key, value)
    assert found.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES[1:4], ids=str)
def test_a_clip_has_the_same_bits_whatever_shares_its_batch(shape):
    query, key, value = projections(shape, torch.bfloat16)
    others = projections(shape, torch.bfloat16, seed=1)
    alone = attention(query, key, value)[-1]
    mixed = [torch.cat([b[:-1], a[-1:]]) for a, b in zip((query, key, value), others, strict=True)]
    assert torch.equal(attention(*mixed)[-1], alone)


def test_only_bfloat16_on_a_cpu_is_computed_in_chunks():
    operands = projections((1, 2, 50, 8), torch.float32)
    assert torch.equal(attention(*operands), F.scaled_dot_product_attention(*operands))


@pytest.mark.parametrize("r", [0, 22])
def test_flops_are_those_of_the_closed_form_in_bfloat16_too(r):
    pruning = sta.Pruning(r=r)
    model = sta.create_model("vit_demo", num_classes=20, pruning=pruning).to(torch.bfloat16)
    want = sta.estimate_flops("vit_demo", num_classes=20, pruning=pruning)
    assert sta.count_flops(model) == want
