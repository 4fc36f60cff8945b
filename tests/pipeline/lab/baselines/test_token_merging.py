"""ToMe is the published algorithm, its sizes are conserved and its FLOPs are counted."""

import pytest
import torch

import sta
from pipeline.lab.baselines.proportional_attention import proportional_attention
from pipeline.lab.baselines.token_merging import ToMe, match, merge
from tests.pipeline.lab.baselines.plain import ODD, SMALL, clips_for, plain_tome, small_vit


@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize(("config", "r"), [(SMALL, 7), (SMALL, 18), (ODD, 4), (ODD, 100)])
@torch.inference_mode()
def test_the_model_is_that_of_the_plain_form(config, r, proportional):
    model, clips = small_vit(config), clips_for(config)
    logits, kept, _ = ToMe(r, proportional=proportional).apply(model)(clips)
    assert kept == ()
    for ours, clip in zip(logits, clips, strict=True):
        theirs, sizes = plain_tome(model, clip, r, proportional=proportional)
        assert sum(sizes) == config.grid[0] * config.grid[1]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@torch.inference_mode()
def test_without_merging_it_is_the_unpruned_model_to_the_bit():
    model, clips = small_vit().float(), clips_for().float()
    assert torch.equal(ToMe(0).apply(model)(clips).logits, model(clips).logits)


@pytest.mark.parametrize("tokens", [12, 13])
def test_merging_keeps_the_sum_of_sizes_and_the_weighted_sum_of_tokens(tokens):
    torch.manual_seed(0)
    x = torch.randn(3, tokens, 8, dtype=torch.float64)
    sizes = torch.randint(1, 5, (3, tokens)).double()
    merged, total = merge(x, sizes, match(torch.randn(3, tokens, 4, dtype=torch.float64), 6))
    assert merged.shape == (3, tokens - 6, 8)
    assert torch.equal(total.sum(dim=1), sizes.sum(dim=1))
    torch.testing.assert_close(
        (merged * total[..., None]).sum(dim=1), (x * sizes[..., None]).sum(dim=1)
    )


def test_the_most_similar_pairs_merge():
    keys = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 0.1], [1, 1], [-1, 0]])[None]
    found = match(keys, 2)
    # Token 2 equals token 1; token 0 is nearly token 3; token 4 is left.
    assert found.merged.tolist() == [[1, 0]]
    assert found.into.tolist() == [[0, 1]]
    assert found.unmerged.tolist() == [[2]]


@torch.inference_mode()
def test_a_token_of_size_three_is_attended_to_as_three_equal_tokens():
    model = small_vit()
    attention = model.blocks[0].attn
    x = torch.randn(1, 5, 48, dtype=torch.float64)
    sizes = torch.tensor([[1.0, 3, 1, 2, 1]], dtype=torch.float64)
    repeated = x[:, [0, 1, 1, 1, 2, 3, 3, 4]]
    ours, projections = proportional_attention(attention, x, sizes)
    theirs, all_projections = attention(repeated)
    torch.testing.assert_close(ours, theirs[:, [0, 1, 4, 5, 7]], rtol=0, atol=1e-12)
    torch.testing.assert_close(projections, all_projections[:, :, :, [0, 1, 4, 5, 7]])


@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize(("config", "r"), [(SMALL, 0), (SMALL, 7), (ODD, 13), (ODD, 100)])
def test_its_flops_are_those_that_fvcore_counts(config, r, proportional):
    pytest.importorskip("fvcore")
    model, settings = small_vit(config), ToMe(r, proportional=proportional)
    reduced = settings.apply(model)
    assert settings.flops(config, num_classes=5) == sta.count_flops(reduced)
    assert reduced.clip_flops(()) == [sta.count_flops(reduced)]


def test_a_model_that_it_does_not_fit_is_refused():
    swin = sta.create_model("videoswin_tiny")
    with pytest.raises(ValueError, match="merges tokens of VideoMAE's ViT.*got videoswin_tiny"):
        ToMe(8).apply(swin)
    with pytest.raises(ValueError, match="merges tokens of VideoMAE's ViT"):
        ToMe(8).flops(swin.config, num_classes=5)
    with pytest.raises(ValueError, match="r must be 0 tokens or more; got -1"):
        ToMe(-1)
