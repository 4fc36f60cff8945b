"""STA with merging keeps STA's tokens, and the others are in their means."""

import pytest
import torch

import sta
from pipeline.lab.baselines.merged_pruning import MergedPruning, merge_dropped
from tests.pipeline.lab.baselines.plain import SMALL, clips_for, plain_merged, small_vit

PRUNING = sta.Pruning(r=4, grouping="paper")


@torch.inference_mode()
def test_the_model_is_that_of_the_plain_form():
    model, clips = small_vit(pruning=PRUNING), clips_for()
    logits, kept, _ = MergedPruning(PRUNING).apply(small_vit())(clips)
    for number, clip in enumerate(clips):
        places, before = [], torch.arange(36)
        for mask in kept:
            left = mask[number].flatten().nonzero()[:, 0]
            places.append([(before == place).nonzero().item() for place in left])
            before = left
        theirs, sizes = plain_merged(model, clip, places)
        assert sum(sizes) == 36
        torch.testing.assert_close(logits[number], theirs, rtol=0, atol=1e-10)


@torch.inference_mode()
def test_its_first_stage_keeps_the_tokens_of_sta():
    clips = clips_for()
    ours = MergedPruning(PRUNING).apply(small_vit())(clips).kept
    assert torch.equal(ours[0], small_vit(pruning=PRUNING)(clips).kept[0])
    assert [int(mask[0].sum()) for mask in ours] == [20, 12, 8]


def test_merging_keeps_the_weighted_sum():
    torch.manual_seed(0)
    x, keys = torch.randn(2, 9, 6), torch.randn(2, 9, 4)
    sizes = torch.randint(1, 4, (2, 9)).float()
    kept = torch.tensor([[5, 1, 8], [0, 2, 4]])
    merged, total = merge_dropped(x, keys, sizes, kept)
    assert torch.equal(total.sum(dim=1), sizes.sum(dim=1))
    torch.testing.assert_close(
        (merged * total[..., None]).sum(dim=1), (x * sizes[..., None]).sum(dim=1)
    )


@pytest.mark.parametrize("pruning", [PRUNING, sta.Pruning(r=3), sta.Pruning()])
def test_its_flops_are_those_that_fvcore_counts(pruning):
    pytest.importorskip("fvcore")
    settings = MergedPruning(pruning)
    assert settings.flops(SMALL, num_classes=5) == sta.count_flops(settings.apply(small_vit()))
