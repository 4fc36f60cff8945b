"""FLOPs of VideoSwin: the paper's Table 3, and the count equals the closed form."""

import pytest
import torch

import sta
from tests.sta.swin_models import clips, small_swin

# Paper, Table 3, GFLOPs per view at r = 0, 192, 256, 320, and the classes of the head.
TABLE_3 = {
    "videoswin_tiny": ((88, 68, 61, 54), 400),
    "videoswin_small": ((166, 121, 106, 91), 400),
    "videoswin_base": ((282, 202, 176, 149), 400),
    "videoswin_base_ssv2": ((321, 241, 215, 188), 174),
}


@pytest.mark.parametrize("architecture", TABLE_3)
def test_flops_with_dense_windows_are_within_0_6_of_table_3(architecture):
    row, classes = TABLE_3[architecture]
    for r, paper in zip((0, 192, 256, 320), row, strict=True):
        pruning = sta.Pruning(r=r, window_attention="dense")
        flops = sta.estimate_flops(architecture, pruning=pruning, num_classes=classes)
        assert flops / 1e9 == pytest.approx(paper, abs=0.6)


@pytest.mark.parametrize(
    ("architecture", "r", "most"),
    [
        ("videoswin_base", 256, 155),
        ("videoswin_base", 320, 126),
        ("videoswin_base_ssv2", 320, 141),
    ],
)
def test_sparse_windows_save_what_copies_cost(architecture, r, most):
    assert sta.estimate_flops(architecture, pruning=sta.Pruning(r=r)) / 1e9 <= most


@pytest.mark.parametrize(("r", "convention"), [(0, "fvcore"), (64, "fvcore"), (64, "macs")])
def test_the_count_on_videoswin_tiny_is_the_closed_form(r, convention):
    pruning = sta.Pruning(r=r, window_attention="dense")
    shape = {"frames": 8, "image_size": 112}
    model = sta.create_model("videoswin_tiny", pruning=pruning, **shape)
    closed = sta.estimate_flops("videoswin_tiny", pruning=pruning, convention=convention, **shape)
    assert sta.count_flops(model, convention=convention) == closed


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"window_attention": "dense"},
        {"window_attention": "dense", "grouping": "paper"},
        {"window_attention": "dense", "similarity": "ffn"},
        {"window_attention": "dense", "score": "semantics"},
        {"window_attention": "dense", "score": "redundancy"},
        {"window_attention": "dense", "score": "random"},
        {"window_attention": "dense", "first_frame": "grid"},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [{}, {"frames": 20, "image_size": 52}], ids=str)
def test_the_closed_form_from_a_clips_maps_is_what_that_clip_cost(switches, shape, monkeypatch):
    model = small_swin(sta.Pruning(r=16, **switches), **shape)
    clip = clips(model, batch=1)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: clip)
    counted = sta.count_flops(model)
    assert sta.clip_flops(model, model(clip).kept) == [counted]


def test_clips_of_a_batch_are_counted_each_by_its_own_maps():
    model = small_swin(sta.Pruning(r=16))
    kept = model(clips(model, batch=3)).kept
    flops = sta.clip_flops(model, kept)
    alone = [sta.clip_flops(model, [mask[row : row + 1] for mask in kept])[0] for row in range(3)]
    assert flops == alone
    assert len(set(flops)) > 1


def test_a_random_drop_costs_what_is_estimated_without_a_clip():
    pruning = sta.Pruning(r=8, score="random")
    shape = {"frames": 8, "image_size": 56}
    model = sta.create_model("videoswin_tiny", pruning=pruning, **shape)
    assert sta.count_flops(model) == sta.estimate_flops("videoswin_tiny", pruning=pruning, **shape)


def test_the_clips_of_a_vit_all_cost_the_estimate():
    pruning = sta.Pruning(r=22)
    model = sta.create_model("vit_demo", num_classes=20, pruning=pruning)
    kept = model(torch.randn(2, 3, 16, 112, 112)).kept
    estimate = sta.estimate_flops("vit_demo", num_classes=20, pruning=pruning)
    assert sta.clip_flops(model, kept) == [estimate] * 2


def test_an_unpruned_model_costs_the_same_in_both_forms():
    for form in ("sparse", "dense"):
        model = small_swin(sta.Pruning(window_attention=form))
        assert sta.clip_flops(model, ()) == [sta.count_flops(model)]
