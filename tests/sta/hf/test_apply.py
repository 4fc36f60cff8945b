"""What `sta.apply` and `sta.remove` promise of the three classes of transformers."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

import sta
from tests.sta.hf.small_models import MODELS, clips, transformers, vivit, vjepa2


def traces(model):
    """All that `apply` may leave on a model: attributes and hooks of every module."""
    return {
        name: (
            sorted(vars(module)),
            [sorted(value) for key, value in sorted(vars(module).items()) if "hooks" in key],
        )
        for name, module in model.named_modules()
    }


def logits(model, given):
    with torch.inference_mode():
        return model(given).logits


def test_apply_prunes_and_remove_gives_the_model_back_to_the_bit(model):
    given = clips()
    unpruned, names, before = logits(model, given), list(model.state_dict()), traces(model)
    assert sta.apply(model, r=4) is model
    assert not torch.equal(logits(model, given), unpruned)
    assert list(model.state_dict()) == names
    assert sta.remove(model) is model
    assert traces(model) == before
    assert not hasattr(model, "sta")
    assert torch.equal(logits(model, given), unpruned)


def test_remove_of_an_unpruned_model_changes_nothing(model):
    before = traces(model)
    sta.remove(sta.remove(model))
    assert traces(model) == before


def test_applying_twice_changes_nothing(model):
    sta.apply(model, r=4)
    once, first = traces(model), logits(model, clips())
    applied = model.sta
    sta.apply(model, pruning=sta.Pruning(r=4))
    assert model.sta is applied
    assert traces(model) == once
    assert torch.equal(logits(model, clips()), first)


def test_other_settings_replace_those_before(model):
    other = sta.Pruning(r=6, grouping="paper")
    alone = logits(sta.apply(copy.deepcopy(model), pruning=other), clips())
    sta.apply(sta.apply(model, r=4), pruning=other)
    assert model.sta.pruning == other
    assert torch.equal(logits(model, clips()), alone)
    sta.remove(model)
    assert not any(hooks for _, parts in traces(model).values() for hooks in parts)


def test_settings_that_do_not_fit_leave_the_model_as_it_is(model):
    sta.apply(model, r=4)
    before, applied = traces(model), model.sta
    with pytest.raises(ValueError, match="largest r for this model is 8"):
        sta.apply(model, r=9)
    assert traces(model) == before
    assert model.sta is applied


def test_r_0_prunes_nothing(model):
    given = clips()
    unpruned = logits(model, given)
    assert torch.equal(logits(sta.apply(model, r=0), given), unpruned)
    assert model.sta.kept == ()
    assert model.sta.flops == model.sta.unpruned_flops


def test_the_default_halves_the_flops(model):
    applied = sta.apply(model).sta
    share = applied.flops / applied.unpruned_flops
    nearest = []
    for r in (applied.pruning.r - 1, applied.pruning.r + 1):
        if r <= 8:
            other = sta.apply(model, r=r).sta
            nearest.append(abs(other.flops / other.unpruned_flops - 0.5))
    assert abs(share - 0.5) <= min(nearest)


def test_a_clip_does_not_depend_on_the_others_of_its_batch(model):
    model = sta.apply(model.double(), r=4)
    given = clips(3).double()
    together = logits(model, given)
    masks = model.sta.kept
    for index in range(3):
        alone = logits(model, given[index : index + 1])
        assert torch.allclose(together[index], alone[0], atol=1e-10)
        for mask, one in zip(masks, model.sta.kept, strict=True):
            assert torch.equal(mask[index], one[0])


def test_it_reports_the_last_pass(model):
    sta.apply(model, r=4)
    assert model.sta.pruning == sta.Pruning(r=4)
    assert model.sta.kept == ()
    logits(model, clips(3))
    assert [mask.shape for mask in model.sta.kept] == [(3, 4, 16)] * 3
    assert all(mask.dtype == torch.bool for mask in model.sta.kept)
    assert [set(mask.sum((1, 2)).tolist()) for mask in model.sta.kept] == [{48}, {40}, {36}]
    assert "r=4" in repr(model.sta)


@pytest.mark.parametrize(
    "pruning",
    [
        sta.Pruning(),
        sta.Pruning(r=4),
        sta.Pruning(r=5, grouping="paper"),
        sta.Pruning(r=4, similarity="ffn"),
        sta.Pruning(r=4, score="semantics"),
        sta.Pruning(r=4, score="random"),
        sta.Pruning(r=4, first_frame="grid"),
    ],
    ids=str,
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", MODELS)
def test_its_flops_are_those_that_fvcore_counts(name, pruning, attention):
    model = MODELS[name]()
    model.set_attn_implementation(attention)
    sta.apply(model, pruning=pruning)
    assert counted_flops(model) == model.sta.flops
    assert model.sta.unpruned_flops == counted_flops(sta.apply(model, r=0))


def test_flops_follow_the_length_of_the_clip():
    model = sta.apply(vjepa2(), r=4)
    usual = model.sta.flops
    assert counted_flops(model, frames=16) == model.sta.flops > 2 * usual


def test_a_clip_of_one_frame_is_pruned_within_it():
    model = sta.apply(vjepa2(), pruning=sta.Pruning(r=4, grouping="paper"))
    assert counted_flops(model, frames=1) == model.sta.flops
    assert [(mask.shape, int(mask.sum())) for mask in model.sta.kept] == [
        ((1, 1, 16), kept) for kept in (12, 10, 9)
    ]


def counted_flops(model, **size):
    from fvcore.nn import FlopCountAnalysis

    from sta.flops import _attention_flops

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, given):
            return self.model(given).logits

    analysis = FlopCountAnalysis(Logits(), clips(1, **size))
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_flops)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    return analysis.total()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(model, dtype):
    wide = logits(sta.apply(copy.deepcopy(model), r=4), clips())
    half = logits(sta.apply(model.to(dtype), r=4), clips().to(dtype))
    assert half.dtype == dtype
    assert [int(mask[0].sum()) for mask in model.sta.kept] == [48, 40, 36]
    assert half.isfinite().all()
    assert torch.nn.functional.cosine_similarity(half.float(), wide).min() > 0.8


def test_scores_are_float32_at_half_precision(model, monkeypatch):
    seen = []
    original = sta.score.semantic_score
    monkeypatch.setattr(sta.score, "semantic_score", lambda x: seen.append(x.dtype) or original(x))
    with torch.autocast("cpu", torch.bfloat16):
        logits(sta.apply(model, r=4), clips())
    logits(model.to(torch.bfloat16), clips().to(torch.bfloat16))
    assert seen == [torch.float32] * 6


def test_attentions_have_the_size_of_each_layer(model):
    model.set_attn_implementation("eager")
    sta.apply(model, r=4)
    prefix = int(isinstance(model, transformers.VivitForVideoClassification))
    with torch.no_grad():
        attentions = model(clips(1), output_attentions=True).attentions
    sizes = [n + prefix for n in (64, 48, 48, 40, 40, 36)]
    assert [tuple(each.shape) for each in attentions] == [(1, 4, n, n) for n in sizes]


def test_it_is_a_plain_checkpoint_that_is_saved(model, tmp_path):
    model.save_pretrained(tmp_path / "unpruned")
    sta.apply(model, r=4)
    model.save_pretrained(tmp_path / "pruned")
    pruned, unpruned = (
        {each.name: each.read_bytes() for each in (tmp_path / name).iterdir()}
        for name in ("pruned", "unpruned")
    )
    assert pruned == unpruned
    loaded = transformers.AutoModelForVideoClassification.from_pretrained(tmp_path / "pruned")
    assert not hasattr(loaded, "sta")
    assert torch.equal(logits(sta.apply(loaded, r=4), clips()), logits(model, clips()))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_is_pruned_and_reports_for_itself(model, copied):
    sta.apply(model, r=4)
    wanted = logits(model, clips())
    kept = model.sta.kept
    other = copied(model)
    sta.apply(model, r=2)
    assert other.sta.pruning == sta.Pruning(r=4)
    assert torch.equal(logits(other, clips()), wanted)
    assert all(map(torch.equal, other.sta.kept, kept))
    assert other.sta.kept is not model.sta.kept
    sta.remove(other)
    assert not hasattr(other, "sta")
    assert not any(hooks for _, parts in traces(other).values() for hooks in parts)
    assert model.sta.pruning == sta.Pruning(r=2)


def test_the_weights_are_not_copied(model):
    before = {name: each.data_ptr() for name, each in model.named_parameters()}
    sta.apply(model, r=4)
    logits(model, clips())
    assert {name: each.data_ptr() for name, each in model.named_parameters()} == before


def test_a_subclass_is_taken(model):
    class Own(type(model)):
        pass

    own = Own(model.config).eval()
    own.load_state_dict(model.state_dict())
    sta.apply(own, r=4)
    assert torch.equal(logits(own, clips()), logits(sta.apply(model, r=4), clips()))


def test_a_mask_that_masks_nothing_does_not_follow_the_pruned_tokens(monkeypatch):
    """transformers makes one for flex attention and for torch.export."""
    model = vivit()
    model.set_attn_implementation("eager")
    sta.apply(model, r=4)
    wanted = logits(model, clips())
    module = sys.modules[type(model).__module__]
    full = torch.zeros(1, 1, 65, 65)
    monkeypatch.setattr(module, "create_bidirectional_mask", lambda **_: full)
    assert torch.allclose(logits(model, clips()), wanted, atol=1e-5)


def test_sta_and_apply_import_no_transformers():
    code = """
import sys
import sta
assert "torch" not in sys.modules
import torch
try:
    sta.apply(torch.nn.Linear(2, 2))
except TypeError as error:
    assert "VideoMAEForVideoClassification" in str(error)
else:
    raise AssertionError
assert "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
