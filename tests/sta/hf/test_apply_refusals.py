"""What `sta.apply` and `sta.remove` refuse, with what to do instead."""

import pytest
import torch

import sta
from tests.sta.hf.small_models import CLASSES, clips, transformers, videomae, vivit, vjepa2

SUPPORTED = (
    "VideoMAEForVideoClassification, VJEPA2ForVideoClassification, VivitForVideoClassification"
)


@pytest.mark.parametrize("call", [sta.apply, sta.remove])
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "MCG-NJU/videomae-base",
        torch.nn.Linear(2, 2),
        type("VivitForVideoClassification", (torch.nn.Module,), {})(),
        transformers.VideoMAEForVideoClassification,
    ],
    ids=["None", "str", "Linear", "namesake", "class"],
)
def test_what_is_no_such_model_is_refused_with_those_that_are(call, wrong):
    with pytest.raises(TypeError, match=SUPPORTED):
        call(wrong)


def test_a_wrapped_model_is_refused_with_what_to_do():
    with pytest.raises(TypeError, match=r"before torch.compile: sta.apply\(model\)"):
        sta.apply(torch.compile(videomae()))
    with pytest.raises(TypeError, match=r"before torch.compile.* is its _orig_mod"):
        sta.remove(torch.compile(videomae()))
    with pytest.raises(TypeError, match="attribute `module`"):
        sta.apply(torch.nn.DataParallel(videomae()))
    with pytest.raises(TypeError, match="got VideoMAEModel, a backbone without a classifier"):
        sta.apply(videomae().videomae)


@pytest.mark.parametrize("call", [sta.apply, sta.remove])
@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("owner/name", r"got 'owner/name'. Load it first: .*from_pretrained\('owner/name'\)"),
        (
            transformers.VideoMAEForVideoClassification,
            "got the class VideoMAEForVideoClassification itself. Load a model first: "
            "VideoMAEForVideoClassification.from_pretrained",
        ),
        (
            transformers.VJEPA2Model(
                transformers.VJEPA2Config(
                    hidden_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    crop_size=32,
                    pred_hidden_size=24,
                    pred_num_attention_heads=2,
                    pred_num_hidden_layers=1,
                )
            ),
            "got VJEPA2Model, a backbone without a classifier. Load it as "
            "VJEPA2ForVideoClassification",
        ),
    ],
    ids=["str", "class", "backbone"],
)
def test_what_must_be_loaded_first_is_refused_with_how(call, wrong, hint):
    with pytest.raises(TypeError, match=hint):
        call(wrong)


@pytest.mark.parametrize("make", [videomae, vjepa2, vivit])
def test_clips_with_swapped_axes_are_refused_with_the_axes(make):
    model = sta.apply(make(), r=4)
    with pytest.raises(ValueError, match=r"clips must be \(B, T, 3, H, W\); got .*: 8 channels"):
        model(clips().transpose(1, 2))


def test_settings_are_checked(model):
    with pytest.raises(ValueError, match="r or pruning, not both"):
        sta.apply(model, r=4, pruning=sta.Pruning(r=4))
    with pytest.raises(TypeError, match=r"must be a sta\.Pruning; got dict"):
        sta.apply(model, pruning={"r": 4})
    with pytest.raises(ValueError, match="whole number"):
        sta.apply(model, r=-1)
    with pytest.raises(ValueError, match="whole number of tokens, 0 or more; got True"):
        sta.apply(model, r=True)
    with pytest.raises(TypeError, match=r"r is given by name: sta.apply\(model, r=4\)"):
        sta.apply(model, 4)
    with pytest.raises(TypeError, match=r"pruning is given by name: .*pruning=\.\.\."):
        sta.apply(model, sta.Pruning(r=4))
    assert not hasattr(model, "sta")


def test_models_that_cannot_be_pruned_are_refused():
    with pytest.raises(ValueError, match="use_mean_pooling is False"):
        sta.apply(videomae(use_mean_pooling=False), r=4)
    with pytest.raises(ValueError, match="the model has 2 layers"):
        sta.apply(vivit(num_hidden_layers=2), r=4)
    with pytest.raises(ValueError, match="divisible by 4; got 6"):
        sta.apply(vivit(num_frames=12))
    assert sta.apply(vivit(num_frames=12), pruning=sta.Pruning(r=4, grouping="paper")).sta


@pytest.mark.parametrize(
    ("made", "argument"),
    [
        (videomae, {"bool_masked_pos": torch.zeros(2, 64, dtype=torch.bool)}),
        (vjepa2, {"context_mask": [torch.arange(64).expand(2, -1)]}),
        (vivit, {"attention_mask": torch.ones(2, 65)}),
    ],
)
def test_arguments_that_pruning_rules_out_are_refused(made, argument):
    model = sta.apply(made(), r=4)
    with pytest.raises(ValueError, match=f"{next(iter(argument))} cannot be given"):
        model(clips(), **argument)
    with torch.no_grad():
        sta.remove(model)(clips(), **argument)


def test_a_length_that_cannot_be_pruned_is_refused_at_the_call():
    model = sta.apply(vjepa2(), r=4)
    with pytest.raises(ValueError, match="divisible by 4; got 6"):
        model(clips(frames=12))
    with torch.inference_mode():
        assert model(clips()).logits.shape == (2, CLASSES)
