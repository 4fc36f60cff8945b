"""The ViT: shapes, masks, determinism, and agreement with Hugging Face's VideoMAE."""

import dataclasses
import itertools

import pytest
import torch

import sta
from sta.models.create import model_from_config
from tests.sta.plain import plain_vit_logits


def clip(architecture="vit_demo", batch=2, seed=0, **shape):
    generator = torch.Generator().manual_seed(seed)
    config = sta.architecture_config(architecture, **shape)
    return torch.randn(batch, *config.input_shape, generator=generator)


def demo(seed=0, **settings):
    torch.manual_seed(seed)
    return sta.create_model("vit_demo", num_classes=20, **settings)


SWITCHES = [
    {"grouping": "paper"},
    {"direction": "BFB"},
    {"direction": "FFF"},
    {"first_frame": "random"},
    {"first_frame": "grid"},
    {"similarity": "q"},
    {"similarity": "v"},
    {"similarity": "ffn"},
    {"schedule": "constant"},
    {"score": "semantics"},
    {"score": "redundancy"},
    {"score": "random"},
    {"temperature": 0.1},
]


def test_r_0_is_the_unpruned_model_bit_for_bit():
    x = clip()
    assert torch.equal(demo(pruning=sta.Pruning(r=0))(x).logits, demo()(x).logits)


@torch.inference_mode()
def test_kept_masks_have_exactly_the_tokens_of_the_stages_and_only_shrink():
    model = demo(pruning=sta.Pruning(r=22))
    kept = model(clip()).kept
    assert [mask.shape for mask in kept] == [(2, 8, 49)] * 3
    assert [mask.dtype for mask in kept] == [torch.bool] * 3
    counts = [mask.flatten(1).sum(dim=1).tolist() for mask in kept]
    assert counts == [[stage.groups * stage.kept] * 2 for stage in model.stages]
    for earlier, later in itertools.pairwise(kept):
        assert not (later & ~earlier).any()


@torch.inference_mode()
def test_every_frame_keeps_as_many_tokens_at_the_first_stage():
    kept = demo(pruning=sta.Pruning(r=22))(clip()).kept
    assert (kept[0].sum(dim=-1) == 49 - 22).all()


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
@torch.inference_mode()
def test_every_switch_changes_the_choice_and_keeps_the_counts(switch):
    x = clip()
    r = 8 if "schedule" in switch else 20
    default = demo(pruning=sta.Pruning(r=r))(x)
    model = demo(pruning=sta.Pruning(r=r, **switch))
    out = model(x)
    assert out.logits.isfinite().all()
    counts = [mask.flatten(1).sum(dim=1).tolist() for mask in out.kept]
    assert counts == [[stage.groups * stage.kept] * 2 for stage in model.stages]
    assert any(not torch.equal(a, b) for a, b in zip(out.kept, default.kept, strict=True))


@pytest.mark.parametrize("value", [0.0, 1.0, -2.1])
@pytest.mark.parametrize("grouping", ["released", "paper"])
@torch.inference_mode()
def test_constant_clips_give_finite_logits(value, grouping):
    model = demo(pruning=sta.Pruning(r=22, grouping=grouping))
    assert model(torch.full((1, 3, 16, 112, 112), value)).logits.isfinite().all()


@torch.inference_mode()
def test_a_clip_has_the_same_labels_and_maps_wherever_it_stands_in_a_batch():
    model, x = demo(pruning=sta.Pruning(r=22)), clip(batch=4)
    whole = model(x)
    turned = model(x.roll(1, dims=0))
    torch.testing.assert_close(turned.logits.roll(-1, dims=0), whole.logits)
    for a, b in zip(turned.kept, whole.kept, strict=True):
        assert torch.equal(a.roll(-1, dims=0), b)


@pytest.mark.parametrize(("frames", "size"), [(8, 112), (16, 96), (32, 64), (16, 16)])
@torch.inference_mode()
def test_other_lengths_and_sizes_work(frames, size):
    tokens = (size // 16) ** 2
    pruning = sta.Pruning(r=tokens // 4)
    model = sta.create_model("vit_demo", pruning=pruning, frames=frames, image_size=size)
    assert model(torch.randn(1, 3, frames, size, size)).logits.shape == (1, 400)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"image_size": 100}, "multiple of 16 .* such as 96 or 112; got 100"),
        ({"frames": 7}, "frames must be a multiple of 2"),
    ],
)
def test_sizes_that_do_not_fit_the_patches_are_refused_with_ones_that_do(shape, said):
    with pytest.raises(ValueError, match=said):
        sta.create_model("vit_base", **shape)


@pytest.mark.parametrize("grouping", ["released", "paper"])
@torch.inference_mode()
def test_pruned_logits_are_those_of_a_plain_reference(grouping):
    torch.manual_seed(0)
    config = dataclasses.replace(
        sta.ARCHITECTURES["vit_giant"],
        **{"embed_dim": 44, "depth": 3, "num_heads": 4, "mlp_dim": 192},
        **{"frames": 8, "image_size": 56},
    )
    pruning = sta.Pruning(r=4, grouping=grouping)
    model = model_from_config(config, "vit_giant", num_classes=5, pruning=pruning).double()
    for parameter in model.parameters():
        parameter.normal_(std=0.2)
    x = torch.randn(2, 3, 8, 56, 56, dtype=torch.float64)
    torch.testing.assert_close(model(x).logits, plain_vit_logits(model, x), atol=1e-10, rtol=0)


def test_a_clip_of_another_size_is_refused_with_the_size_it_takes():
    with pytest.raises(ValueError, match=r"\(B, 3, 16, 112, 112\); got \(1, 3, 16, 224, 224\)"):
        demo()(torch.zeros(1, 3, 16, 224, 224))


def test_an_unknown_architecture_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="unknown architecture 'resnet'; available are .*vit_base"):
        sta.create_model("resnet")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["vit_small", "vit_base"])
@torch.inference_mode()
def test_logits_are_those_of_transformers_on_the_same_weights(architecture, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = sta.architecture_config(architecture)
    torch.manual_seed(0)
    theirs = transformers.VideoMAEForVideoClassification(
        transformers.VideoMAEConfig(
            hidden_size=config.embed_dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=4 * config.embed_dim,
            num_labels=7,
            use_mean_pooling=True,
            # transformers builds fc_norm with torch's own 1e-5; VideoMAE's is 1e-6 everywhere.
            layer_norm_eps=1e-6,
        )
    ).eval()
    theirs.fc_norm.eps = 1e-6
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.5)
        elif "weight" in name and parameter.ndim > 1:
            parameter.normal_(std=0.03)
    theirs.save_pretrained(tmp_path)
    ours = sta.load_model(tmp_path)
    assert ours.architecture == architecture
    x = clip(architecture, batch=1)
    want = theirs(x.transpose(1, 2)).logits
    assert float((ours(x).logits - want).abs().max()) < 1e-5
    assert float(want.std()) > 0.1
