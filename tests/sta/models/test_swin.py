"""VideoSwin: the original's logits, sparse and dense window attention, and what is refused."""

import pytest
import torch

import sta
from sta.pruning import largest_swin_r
from tests.sta.plain_swin import plain_logits
from tests.sta.swin_models import clips, small_swin, stir
from tests.sta.torchvision_swin import swin_module, to_our_names

# Grids with and without padding, windows clipped to the grid, odd sides where patches merge.
SHAPES = [
    {},
    {"image_size": 40},
    {"frames": 20, "image_size": 52},
    {"frames": 4, "image_size": 36},
    {"frames": 8, "image_size": 24, "window_size": (4, 7, 7)},
]

SWITCHES = [
    {"direction": "BFB"},
    {"direction": "FFF"},
    {"first_frame": "random"},
    {"first_frame": "grid"},
    {"similarity": "q"},
    {"similarity": "v"},
    {"similarity": "ffn"},
    {"schedule": "constant"},
    {"schedule": "increasing"},
    {"score": "semantics"},
    {"score": "redundancy"},
    {"score": "random"},
    {"temperature": 0.1},
]


@pytest.mark.parametrize("shape", [{}, {"frames": 12, "image_size": 40}], ids=str)
@pytest.mark.parametrize("window_attention", ["sparse", "dense"])
@pytest.mark.parametrize(
    "switches", [{"r": 0}, {"r": 9}, {"r": 21, "grouping": "paper", "temperature": 0.1}], ids=str
)
@torch.inference_mode()
def test_logits_and_maps_are_those_of_the_plain_form(shape, window_attention, switches):
    pruning = sta.Pruning(window_attention=window_attention, **switches)
    model = small_swin(pruning, **shape)
    x = clips(model, batch=1)
    out = model(x)
    logits, masks = plain_logits(model, x[0])
    torch.testing.assert_close(out.logits[0], logits, rtol=0, atol=1e-9)
    assert len(out.kept) == len(masks)
    assert all(torch.equal(a[0], b) for a, b in zip(out.kept, masks, strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("share", [0, 0.3, 0.7, 1])
@torch.inference_mode()
def test_sparse_and_dense_windows_give_the_same_logits(shape, share):
    grids = [small_swin(**shape).config.stage_grid(stage) for stage in (1, 2, 3)]
    limit = largest_swin_r(sta.Pruning(), spatial_tokens=[h * w for _, h, w in grids])
    r = max(int(share * limit), 1)
    sparse = small_swin(sta.Pruning(r=r), **shape)
    dense = small_swin(sta.Pruning(r=r, window_attention="dense"), **shape)
    x = clips(sparse)
    a, b = sparse(x), dense(x)
    assert float((a.logits - b.logits).abs().max()) < 1e-9
    assert all(torch.equal(m, n) for m, n in zip(a.kept, b.kept, strict=True))


@pytest.mark.slow
@torch.inference_mode()
def test_the_two_forms_agree_at_the_papers_shape_in_float32():
    model = sta.create_model("videoswin_tiny", num_classes=9, pruning=sta.Pruning(r=320))
    dense = sta.create_model(
        "videoswin_tiny",
        num_classes=9,
        pruning=sta.Pruning(r=320, window_attention="dense"),
    )
    stir(model)
    dense.load_state_dict(model.state_dict())
    x = clips(model, batch=1)
    torch.testing.assert_close(model(x).logits, dense(x).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("window_attention", ["sparse", "dense"])
@torch.inference_mode()
def test_r_0_is_the_unpruned_model_bit_for_bit(window_attention):
    pruned = small_swin(sta.Pruning(r=0, window_attention=window_attention))
    assert torch.equal(pruned(clips(pruned)).logits, small_swin()(clips(pruned)).logits)


@pytest.mark.parametrize(("frames", "size"), [(8, 112), (10, 100)])
@torch.inference_mode()
def test_logits_are_those_of_torchvision_on_the_same_weights(frames, size):
    theirs = swin_module().swin3d_t(num_classes=7).eval()
    stir(theirs)
    ours = sta.create_model("videoswin_tiny", num_classes=7, frames=frames, image_size=size)
    renamed = {to_our_names(name): tensor for name, tensor in theirs.state_dict().items()}
    renamed.pop(None)
    ours.load_state_dict(renamed)
    x = clips(ours, batch=1)
    want = theirs(x)
    assert float((ours(x).logits - want).abs().max()) < 1e-5
    assert float(want.std()) > 0.1


def test_parameter_names_are_those_of_the_original_checkpoints():
    names = set(sta.create_model("videoswin_tiny").state_dict())
    assert len(names) == 173
    assert {
        "patch_embed.proj.weight",
        "patch_embed.norm.bias",
        "layers.0.blocks.1.attn.relative_position_bias_table",
        "layers.2.blocks.5.attn.qkv.bias",
        "layers.3.blocks.0.mlp.fc2.weight",
        "layers.1.downsample.reduction.weight",
        "layers.2.downsample.norm.weight",
        "norm.weight",
        "head.bias",
    } <= names
    assert not any("index" in name or "layers.3.downsample" in name for name in names)


def test_the_papers_models_drop_r_then_3_8_then_an_eighth_from_each_of_16_frames():
    config = sta.architecture_config("videoswin_base")
    stages = config.stages(sta.default_pruning("videoswin_base"))
    assert [(s.block, s.groups, s.tokens, s.drop, s.backward) for s in stages] == [
        (1, 16, 784, 256, False),
        (2, 16, 196, 96, True),
        (3, 16, 49, 32, False),
    ]


@torch.inference_mode()
def test_kept_masks_have_the_grid_and_the_tokens_of_their_stage():
    model = small_swin(sta.Pruning(r=20))
    kept = model(clips(model)).kept
    assert [tuple(mask.shape[1:]) for mask in kept] == list(model.kept_grids)
    assert list(model.kept_grids) == [(8, 36), (8, 9), (8, 4)]
    for mask, stage in zip(kept, model.stages, strict=True):
        assert mask.dtype == torch.bool
        assert (mask.sum(dim=-1) == stage.kept).all()


def test_vit_keeps_one_grid_for_all_stages():
    model = sta.create_model("vit_demo", pruning=sta.Pruning(r=22))
    assert model.kept_grids == ((8, 49),) * 3


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
@torch.inference_mode()
def test_every_switch_changes_the_choice_and_keeps_the_counts(switch):
    default, model = small_swin(sta.Pruning(r=8)), small_swin(sta.Pruning(r=8, **switch))
    x = clips(model)
    out = model(x)
    assert out.logits.isfinite().all()
    for mask, stage in zip(out.kept, model.stages, strict=True):
        assert (mask.sum(dim=-1) == stage.kept).all()
    usual = default(x).kept
    assert any(
        a.shape != b.shape or not torch.equal(a, b) for a, b in zip(out.kept, usual, strict=True)
    )


@pytest.mark.parametrize("value", [0.0, 1.0, -2.1])
@pytest.mark.parametrize("window_attention", ["sparse", "dense"])
@pytest.mark.parametrize("r", [5, 23])
@torch.inference_mode()
def test_constant_clips_give_finite_logits(value, window_attention, r):
    model = small_swin(sta.Pruning(r=r, window_attention=window_attention)).float()
    x = torch.full((1, *model.config.input_shape), value)
    assert model(x).logits.isfinite().all()


@torch.inference_mode()
def test_position_biases_far_apart_give_finite_logits_that_agree():
    sparse, dense = (
        small_swin(sta.Pruning(r=20, window_attention=form)).float() for form in ("sparse", "dense")
    )
    for model in (sparse, dense):
        for name, parameter in model.named_parameters():
            if "table" in name:
                parameter.mul_(15)
    x = clips(sparse)
    torch.testing.assert_close(sparse(x).logits, dense(x).logits, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_clip_has_the_same_labels_maps_and_flops_wherever_it_stands_in_a_batch():
    model = small_swin(sta.Pruning(r=20))
    x = clips(model, batch=3)
    whole, turned, alone = model(x), model(x.roll(1, dims=0)), model(x[:1])
    torch.testing.assert_close(turned.logits.roll(-1, dims=0), whole.logits)
    torch.testing.assert_close(alone.logits, whole.logits[:1])
    for a, b in zip(turned.kept, whole.kept, strict=True):
        assert torch.equal(a.roll(-1, dims=0), b)
    assert sta.clip_flops(model, alone.kept) == sta.clip_flops(model, whole.kept)[:1]


def test_a_model_that_has_inferred_can_still_be_trained():
    model = small_swin(sta.Pruning(r=20))
    with torch.inference_mode():
        model(clips(model))
    model(clips(model)).logits.sum().backward()
    table = model.layers[1].blocks[0].attn.relative_position_bias_table
    assert table.grad is not None
    assert float(table.grad.abs().max()) > 0


@pytest.mark.parametrize(("frames", "size"), [(8, 112), (16, 64), (64, 32), (8, 256), (2, 4)])
@torch.inference_mode()
def test_other_lengths_and_sizes_work(frames, size):
    model = small_swin(frames=frames, image_size=size, window_size=(8, 7, 7)).float()
    assert model(clips(model, batch=1)).logits.shape == (1, 5)
    model = small_swin(
        sta.Pruning(r=(size // 16) ** 2), frames=frames, image_size=size, window_size=(8, 7, 7)
    ).float()
    assert model(clips(model, batch=1)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"image_size": 30}, "multiple of 4 .* such as 28 or 32; got 30"),
        ({"frames": 7}, "frames must be a multiple of 2"),
    ],
)
def test_sizes_that_do_not_fit_the_patches_are_refused_with_ones_that_do(shape, said):
    with pytest.raises(ValueError, match=said):
        sta.create_model("videoswin_base", **shape)


def test_too_large_an_r_is_refused_with_the_stage_and_the_largest_that_fits():
    said = r"r = 392 .* stage 4 would drop 49 of 49 .* largest r for this model is 391"
    with pytest.raises(ValueError, match=said):
        sta.create_model("videoswin_tiny", pruning=sta.Pruning(r=392))
    sta.architecture_config("videoswin_tiny").stages(sta.Pruning(r=391))


def test_a_clip_of_another_size_is_refused_with_the_size_it_takes():
    model = small_swin()
    with pytest.raises(ValueError, match=r"\(B, 3, 16, 48, 48\); got \(1, 3, 16, 32, 32\)"):
        model(torch.zeros(1, 3, 16, 32, 32, dtype=torch.float64))


def test_an_unknown_window_attention_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="window_attention must be one of 'sparse', 'dense'"):
        sta.Pruning(window_attention="both")
