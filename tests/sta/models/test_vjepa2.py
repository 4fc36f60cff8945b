"""V-JEPA 2: equal to transformers' on the same files, and pruned to a plain reference."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import sta
from sta.models import vjepa2
from sta.models.configs import ViTConfig
from tests.sta import formats
from tests.sta.plain import plain_select_tokens

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SHAPES = {
    # An MLP of another width than the pooler's, and heads with channels that are not rotated.
    "vjepa2_toy": ViTConfig(
        embed_dim=48,
        depth=3,
        num_heads=3,
        frames=8,
        image_size=64,
        mlp_dim=96,
        key_bias=True,
        backbone="vjepa2",
    ),
    "vjepa2_heads_of_64": ViTConfig(
        embed_dim=128,
        depth=4,
        num_heads=2,
        frames=16,
        image_size=96,
        key_bias=True,
        backbone="vjepa2",
    ),
}
TOY = "vjepa2_toy"


@pytest.fixture(autouse=True)
def shapes(monkeypatch):
    for name, shape in SHAPES.items():
        monkeypatch.setitem(sta.ARCHITECTURES, name, shape)


def random_model(name=TOY, **changes):
    """transformers' classifier of this shape, with random weights and biases."""
    shape = SHAPES[name]
    values = {
        "crop_size": shape.image_size,
        "frames_per_clip": shape.frames,
        "hidden_size": shape.embed_dim,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.num_heads,
        "mlp_ratio": shape.hidden_dim / shape.embed_dim,
        "pred_hidden_size": 24,
        "pred_num_attention_heads": 2,
        "pred_num_hidden_layers": 1,
        "num_labels": 5,
    }
    torch.manual_seed(0)
    config = transformers.VJEPA2Config(**values | changes)
    model = transformers.VJEPA2ForVideoClassification(config).eval()
    with torch.no_grad():
        for name_, parameter in model.named_parameters():
            norm = "norm" in name_ and name_.endswith("weight")
            parameter.normal_(mean=float(norm), std=0.15)
    return model


def clips(name=TOY, batch=2):
    """Clips whose logits depend on where in the clip things are."""
    generator = torch.Generator().manual_seed(1)
    shape = sta.architecture_config(name).input_shape
    return torch.randn(batch, *shape, generator=generator)


def edited(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "removed"}))
    return folder


def largest_difference(ours, theirs, x):
    want = theirs(x.transpose(1, 2)).logits
    assert float(want.std()) > 0.1
    return float((ours(x).logits - want).abs().max())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("form", ["whole", "sharded", "bin"])
@torch.inference_mode()
def test_unpruned_logits_are_those_of_transformers_on_the_same_files(name, form, tmp_path):
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path, max_shard_size="200KB" if form == "sharded" else "1GB")
    if form == "bin":
        (tmp_path / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    assert (tmp_path / "model.safetensors.index.json").exists() == (form == "sharded")
    ours = sta.load_model(tmp_path)
    assert ours.architecture == name
    assert ours.config == SHAPES[name]
    assert largest_difference(ours, theirs, clips(name)) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_files_in_half_precision_are_loaded_as_float32(dtype, tmp_path):
    theirs = random_model()
    theirs.to(dtype).save_pretrained(tmp_path)
    ours = sta.load_model(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert largest_difference(ours, theirs.float(), clips()) < 1e-5


@torch.inference_mode()
def test_a_model_without_biases_of_queries_keys_and_values_is_loaded(tmp_path):
    theirs = random_model(qkv_bias=False)
    theirs.save_pretrained(tmp_path)
    ours = sta.load_model(tmp_path)
    assert not ours.config.key_bias
    assert largest_difference(ours, theirs, clips()) < 1e-5


def plain_forward(theirs, x, pruning, shape):
    """transformers' own layers on the tokens that the plain form of Algorithm 1 keeps.

    Their attention takes the positions of its tokens, so rotary angles are theirs too.
    """
    encoder = theirs.vjepa2.encoder
    hidden = encoder.embeddings(x.transpose(1, 2))
    positions = torch.arange(hidden.shape[1]).expand(len(x), -1)
    stages = {stage.block: stage for stage in shape.stages(pruning)}
    chosen = []
    for index, layer in enumerate(encoder.layer):
        key = layer.attention.key(layer.norm1(hidden))
        hidden = layer(hidden, position_mask=positions)[0]
        if index not in stages:
            continue
        stage = stages[index]
        key = key.unflatten(-1, (shape.num_heads, -1)).mean(dim=-2)
        grouped = [t.reshape(len(x), stage.groups, stage.tokens, -1) for t in (hidden, key)]
        within = plain_select_tokens(*grouped, pruning=pruning, stage=stage)
        kept = (within + stage.tokens * torch.arange(stage.groups)[:, None]).flatten(1)
        hidden = hidden.gather(1, kept[..., None].expand(-1, -1, hidden.shape[-1]))
        positions = positions.gather(1, kept)
        chosen.append(positions)
    pooled = theirs.pooler(encoder.layernorm(hidden))
    return theirs.classifier(pooled), chosen


@pytest.mark.parametrize("grouping", ["released", "paper"])
@pytest.mark.parametrize("name", SHAPES)
@torch.inference_mode()
def test_pruned_logits_and_ordered_tokens_are_those_of_the_plain_reference(
    name, grouping, tmp_path
):
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path)
    pruning = dataclasses.replace(sta.default_pruning(name), grouping=grouping)
    ours = sta.load_model(tmp_path, pruning=pruning).double()
    x = clips(name).double()
    logits, chosen = plain_forward(theirs.double(), x, pruning, SHAPES[name])
    out, (_, positions, _) = ours(x), ours.tokens(x)
    assert torch.equal(positions, chosen[-1])
    for mask, kept in zip(out.kept, chosen, strict=True):
        want = torch.zeros_like(mask).flatten(1).scatter(1, kept, value=True)
        assert torch.equal(mask.flatten(1), want)
    # Our tables are float32, and transformers' angles have the type of the model.
    assert float((out.logits - logits).abs().max()) < 1e-5
    unpruned = theirs(x.transpose(1, 2)).logits
    assert float((logits - unpruned).abs().max()) > 1e-2


@torch.inference_mode()
def test_rotary_angles_are_gathered_with_their_tokens(tmp_path):
    theirs = random_model()
    theirs.save_pretrained(tmp_path)
    pruning = sta.default_pruning(TOY)
    ours = sta.load_model(tmp_path, pruning=pruning).double()
    x = clips().double()
    logits, _ = plain_forward(theirs.double(), x, pruning, SHAPES[TOY])
    own = ours.rotation
    ours.rotation = lambda positions: own(torch.arange(positions.shape[1]).expand_as(positions))
    assert float((ours(x).logits - logits).abs().max()) > 1e-3


def test_each_channel_turns_by_its_part_of_the_position():
    shape = SHAPES["vjepa2_heads_of_64"]
    table = vjepa2.rotary_table(shape)
    temporal, spatial = shape.grid
    assert table.cos.shape == table.sin.shape == (temporal * spatial, 64)
    assert {table.cos.dtype, table.sin.dtype} == {torch.float32}
    _, columns = shape.grid_size
    frame, row, column = 3, 2, 4
    at = frame * spatial + row * columns + column
    for channel in range(60):
        place = (frame, row, column)[channel // 20]
        angle = torch.tensor(place / 10000 ** (channel % 10 / 10))
        torch.testing.assert_close(table.cos[at, channel], angle.cos())
        torch.testing.assert_close(table.sin[at, channel], angle.sin())
    assert (table.cos[:, 60:] == 1).all()
    assert (table.sin[:, 60:] == 0).all()


def test_heads_of_an_odd_number_of_channels_are_refused():
    shape = dataclasses.replace(SHAPES[TOY], num_heads=16)
    with pytest.raises(ValueError, match="16 heads of embed_dim 48 have 3 channels each"):
        vjepa2.rotary_table(shape)


@torch.inference_mode()
def test_r_0_is_the_unpruned_model_bit_for_bit():
    torch.manual_seed(0)
    unpruned = sta.create_model(TOY)
    pruned = sta.create_model(TOY, pruning=sta.Pruning(r=0))
    pruned.load_state_dict(unpruned.state_dict())
    assert torch.equal(pruned(clips()).logits, unpruned(clips()).logits)


@pytest.mark.parametrize("convention", ["fvcore", "macs"])
@pytest.mark.parametrize("grouping", ["released", "paper"])
@pytest.mark.parametrize("r", [0, 3])
def test_counted_flops_are_those_in_closed_form_the_pooler_included(r, grouping, convention):
    pruning = sta.Pruning(r=r, grouping=grouping)
    model = sta.create_model(TOY, num_classes=7, pruning=pruning)
    assert sta.count_flops(model, convention=convention) == sta.estimate_flops(
        TOY, pruning=pruning, num_classes=7, convention=convention
    )


def test_the_pooler_costs_less_on_fewer_tokens():
    unpruned, pruned = (
        type(sta.create_model(TOY)).pool_flops(SHAPES[TOY], tokens, norm=0) for tokens in (64, 32)
    )
    assert pruned < 0.55 * unpruned


@pytest.mark.parametrize("name", ["vjepa2_large", "vjepa2_huge", "vjepa2_giant"])
def test_the_default_pruning_halves_the_flops_at_the_checkpoints_own_size(name):
    for frames, size in ((16, 256), (64, 256), (64, 384)):
        shape = sta.architecture_config(name, frames=frames, image_size=size)
        pruned = sta.estimate_flops(shape, pruning=sta.default_pruning(shape))
        assert pruned / sta.estimate_flops(shape) == pytest.approx(0.5, abs=0.01)


def test_the_table_of_flops_is_that_of_the_code():
    readme = Path(vjepa2.__file__).with_name("README.md").read_text()
    rows = re.findall(r"^\| `(vjepa2_\w+)` \| [^|]* \| [^|]* \| ([\d.]+) \| (.*) \|$", readme, re.M)
    assert [name for name, _, _ in rows] == ["vjepa2_large", "vjepa2_huge", "vjepa2_giant"]
    for name, unpruned, cells in rows:
        assert f"{sta.estimate_flops(name, num_classes=174) / 1e9:.1f}" == unpruned
        for less, cell in zip((0.25, 0.37, 0.5), cells.split(" | "), strict=True):
            pruning = sta.pruning_for_share(name, 1 - less)
            flops = sta.estimate_flops(name, pruning=pruning, num_classes=174)
            assert f"{pruning.r}: {flops / 1e9:.1f}" == cell


def test_a_saved_model_is_loaded_with_its_own_clip_size(tmp_path):
    pruning = sta.Pruning(r=2)
    model = sta.create_model(TOY, num_classes=2, pruning=pruning, frames=16, image_size=32)
    with torch.no_grad():
        model.blocks[0].attn.k_bias.normal_()  # biases that are all zero are left out
    sta.save_checkpoint(model, tmp_path / "own.safetensors", labels=["a", "b"], origin="a test")
    loaded = sta.load_model(tmp_path / "own.safetensors", pruning=pruning)
    assert formats.same_weights(loaded, model)
    assert (loaded.architecture, loaded.config) == (TOY, model.config)
    assert loaded.labels == ("a", "b")


def test_an_encoder_without_classifier_is_refused_as_such(tmp_path):
    random_model().vjepa2.save_pretrained(tmp_path)
    with pytest.raises(sta.CheckpointError, match="pre-trained but not fine-tuned"):
        sta.load_model(tmp_path)


def test_what_its_configuration_says_is_followed(tmp_path):
    random_model().save_pretrained(tmp_path)
    edited(tmp_path, crop_size=32, frames_per_clip=16, num_attention_heads=6, layer_norm_eps=1e-5)
    edited(tmp_path, hidden_act="gelu_pytorch_tanh", patch_size=[16, 16])
    shape = sta.load_model(tmp_path).config
    want = {"image_size": 32, "frames": 16, "num_heads": 6, "norm_eps": 1e-5}
    assert {name: getattr(shape, name) for name in want} == want
    assert shape.activation == "gelu_tanh"


def test_fields_that_are_missing_have_the_values_that_transformers_takes(tmp_path):
    random_model().save_pretrained(tmp_path)
    edited(tmp_path, frames_per_clip="removed", crop_size="removed", num_pooler_layers="removed")
    shape = sta.load_model(tmp_path).config
    assert (shape.frames, shape.image_size) == (64, 256)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("crop_size", 40), ("crop_size", [64, 32]), ("frames_per_clip", 7)),
        *(("patch_size", 14), ("patch_size", [16, 8]), ("tubelet_size", 1), ("in_chans", 1)),
        *(("hidden_size", 96), ("num_hidden_layers", 4), ("num_attention_heads", 5)),
        *(("mlp_ratio", 4.0), ("mlp_ratio", "wide"), ("hidden_act", "selu")),
        *(("layer_norm_eps", 2), ("num_pooler_layers", 2), ("qkv_bias", "no")),
        *(("use_mean_pooling", True), ("use_SiLU", True)),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(tmp_path, field, value):
    random_model().save_pretrained(tmp_path)
    edited(tmp_path, **{field: value})
    with pytest.raises(sta.CheckpointError, match=f"config.json: {field} is "):
        sta.load_model(tmp_path)


def test_what_cannot_change_a_label_has_no_effect(tmp_path):
    random_model().save_pretrained(tmp_path)
    edited(
        tmp_path,
        drop_path_rate=0.1,
        attention_dropout=0.1,
        pred_hidden_size=999,
        pred_num_mask_tokens=3,
        image_size=999,
    )
    assert sta.load_model(tmp_path).config == SHAPES[TOY]


def test_a_ratio_between_whole_numbers_of_channels_is_rounded_down(tmp_path):
    theirs = random_model(mlp_ratio=97.5 / 48)
    assert theirs.vjepa2.encoder.layer[0].mlp.fc1.out_features == 97
    theirs.save_pretrained(tmp_path)
    with pytest.raises(sta.CheckpointError, match="mlp_ratio is 97; .*have 96"):
        sta.load_model(tmp_path)


# As VJEPA2VideoProcessor writes it; transformers makes one with torchvision alone.
PROCESSOR = {
    "video_processor_type": "VJEPA2VideoProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 73},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 64, "width": 64},
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


@pytest.mark.parametrize("file", ["video_preprocessor_config.json", "preprocessor_config.json"])
def test_the_preprocessing_is_the_processors(tmp_path, file):
    random_model().save_pretrained(tmp_path)
    (tmp_path / file).write_text(json.dumps(PROCESSOR))
    sta.load_model(tmp_path)
    for field, value in {
        "size": {"shortest_edge": 64},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": False,
    }.items():
        (tmp_path / file).write_text(json.dumps(PROCESSOR | {field: value}))
        with pytest.raises(sta.CheckpointError, match=f"{file}: {field} is .*the pipeline does "):
            sta.load_model(tmp_path)
    (tmp_path / file).write_text(json.dumps(PROCESSOR | {"image_mean": [0.5, 0.4, 0.3]}))
    assert sta.load_model(tmp_path).config.mean == (0.5, 0.4, 0.3)


def test_a_missing_bias_of_the_pooler_is_missed_whatever_the_encoder_has(tmp_path):
    random_model(qkv_bias=False).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["pooler.self_attention_layers.0.self_attn.q_proj.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(sta.CheckpointError, match=r"lacks pooler.blocks.0.attn.q_bias"):
        sta.load_model(tmp_path)


def test_a_pooler_without_classifier_is_refused_as_such(tmp_path):
    random_model().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    left = {name: each for name, each in tensors.items() if not name.startswith("classifier.")}
    save_file(left, tmp_path / "model.safetensors")
    with pytest.raises(sta.CheckpointError, match="pre-trained but not fine-tuned"):
        sta.load_model(tmp_path)


def test_a_configuration_without_model_type_has_the_names_of_the_weights_backbone(tmp_path):
    random_model().save_pretrained(tmp_path)
    edited(tmp_path, model_type="removed", frames_per_clip=16)
    assert sta.load_model(tmp_path).config.frames == 16
