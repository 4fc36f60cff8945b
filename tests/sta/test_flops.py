"""FLOPs: counted and computed are the same number, and it is the paper's."""

import dataclasses
import subprocess
import sys

import pytest
import torch

import sta

# Paper, Table 2, GFLOPs per view at r = 0, 32, 48, 64.
TABLE_2 = {
    "vit_small": (57, 42, 35, 29),
    "vit_base": (180, 136, 116, 96),
    "vit_large": (597, 446, 376, 308),
    "vit_huge": (1192, 890, 748, 611),
}


@pytest.mark.parametrize("architecture", TABLE_2)
@pytest.mark.parametrize("grouping", ["released", "paper"])
def test_flops_are_within_0_8_of_table_2(architecture, grouping):
    for r, paper in zip((0, 32, 48, 64), TABLE_2[architecture], strict=True):
        flops = sta.estimate_flops(architecture, pruning=sta.Pruning(r=r, grouping=grouping))
        assert flops / 1e9 == pytest.approx(paper, abs=0.8)


def test_the_giant_of_videomae_v2_has_the_published_flops_and_half_of_them_by_default():
    # VideoMAE V2, comparison on Kinetics-400: 38.16 TFLOPs for 16 x 5 x 3, that is 15 views.
    flops = sta.estimate_flops("vit_giant")
    assert 15 * flops / 1e12 == pytest.approx(38.16, abs=0.01)
    pruning = sta.default_pruning("vit_giant")
    assert pruning.r == 85
    assert sta.estimate_flops("vit_giant", pruning=pruning) / flops == pytest.approx(0.5, abs=0.002)
    assert sta.ARCHITECTURES["vit_giant"].grid == (8, 256)


@pytest.mark.parametrize("grouping", ["released", "paper"])
@pytest.mark.parametrize("r", [0, 5])
def test_the_closed_form_follows_the_giants_patches_and_mlp_ratio(monkeypatch, r, grouping):
    giant = sta.ARCHITECTURES["vit_giant"]
    small = dataclasses.replace(
        giant, embed_dim=88, depth=4, num_heads=4, mlp_dim=384, image_size=56, frames=8
    )
    assert small.mlp_dim * giant.embed_dim == giant.mlp_dim * small.embed_dim
    monkeypatch.setitem(sta.ARCHITECTURES, "vit_small_giant", small)
    pruning = sta.Pruning(r=r, grouping=grouping)
    model = sta.create_model("vit_small_giant", num_classes=5, pruning=pruning)
    closed = sta.estimate_flops("vit_small_giant", num_classes=5, pruning=pruning)
    assert sta.count_flops(model) == closed


@pytest.mark.parametrize(
    "switches",
    [
        {"r": 0},
        {"r": 22},
        {"r": 7, "grouping": "paper"},
        {"r": 16, "similarity": "ffn"},
        {"r": 16, "similarity": "q"},
        {"r": 16, "score": "semantics"},
        {"r": 16, "score": "redundancy"},
        {"r": 16, "score": "random"},
        {"r": 16, "first_frame": "grid"},
        {"r": 3, "schedule": "increasing"},
    ],
    ids=str,
)
@pytest.mark.parametrize("convention", ["fvcore", "macs"])
def test_the_closed_form_equals_the_count_on_the_model(switches, convention):
    pruning = sta.Pruning(**switches)
    model = sta.create_model("vit_demo", num_classes=20, pruning=pruning)
    closed = sta.estimate_flops("vit_demo", num_classes=20, pruning=pruning, convention=convention)
    assert sta.count_flops(model, convention=convention) == closed


def test_the_closed_form_equals_the_count_on_vit_small():
    pruning = sta.Pruning(r=64)
    model = sta.create_model("vit_small", pruning=pruning)
    assert sta.count_flops(model) == sta.estimate_flops("vit_small", pruning=pruning)


def test_the_closed_form_follows_other_lengths_and_sizes():
    shape = {"frames": 32, "image_size": 64}
    pruning = sta.Pruning(r=4)
    model = sta.create_model("vit_demo", pruning=pruning, **shape)
    assert sta.count_flops(model) == sta.estimate_flops("vit_demo", pruning=pruning, **shape)


def test_attention_is_counted():
    model = sta.create_model("vit_demo")
    tokens, width, depth = 392, 192, 6
    attention = 2 * tokens * tokens * width * depth
    linear = sum(
        module.weight.numel() * tokens
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "head"
    )
    embedding = tokens * width * 3 * 2 * 16 * 16
    counted = sta.count_flops(model, convention="macs")
    assert counted == attention + linear + embedding + width * 400


def test_the_demo_default_saves_about_half():
    pruning = sta.default_pruning("vit_demo")
    ratio = sta.estimate_flops("vit_demo", pruning=pruning) / sta.estimate_flops("vit_demo")
    assert ratio == pytest.approx(0.5, abs=0.03)


def test_an_unknown_convention_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="one of fvcore, macs; got 'torch'"):
        sta.estimate_flops("vit_demo", convention="torch")


def test_fvcore_is_imported_where_flops_are_counted_and_not_before():
    code = (
        "import sta, sys; sta.estimate_flops('vit_demo'); before = 'fvcore' in sys.modules;"
        "sta.count_flops(sta.create_model('vit_demo')); print(before, 'fvcore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_packages_that_sta_needs_to_be_imported_are_torch_numpy_and_safetensors():
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fvcore", "huggingface_hub", "boto3", "ray", "av", "transformers", "yaml"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import sta
sta.load_model("demo")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
