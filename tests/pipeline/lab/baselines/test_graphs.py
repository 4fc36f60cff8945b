"""Methods of static shapes are one graph each, so that labelers can compile them."""

import pytest
import torch

import sta
from pipeline.lab.baselines.merged_pruning import MergedPruning
from pipeline.lab.baselines.run_length import RLT
from pipeline.lab.baselines.token_merging import ToMe
from tests.pipeline.lab.baselines.plain import clips_for, small_vit


@pytest.mark.parametrize(
    "settings", [ToMe(7), RLT(11), MergedPruning(sta.Pruning(r=3))], ids=lambda each: str(each)[:3]
)
@torch.inference_mode()
def test_a_method_is_traced_whole_and_says_the_same(settings):
    reduced, clips = settings.apply(small_vit()), clips_for()
    assert reduced.is_static
    traced = torch.compile(reduced, fullgraph=True, dynamic=False, backend="eager")
    assert torch.equal(traced(clips).logits, reduced(clips).logits)
