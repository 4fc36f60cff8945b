"""Configuration files beside weights: every field is followed or refused by name."""

import argparse
import json
import logging

import pytest
import torch

import sta
from sta.models.architectures import ViTConfig
from tests.sta import formats

TOY = ViTConfig(embed_dim=48, depth=3, num_heads=4, image_size=32, frames=4)
THEIRS = {
    "image_size": 32,
    "num_frames": 4,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "num_labels": 3,
}
# For every field of transformers' configuration, values that are not the default.
OTHER_VALUES = {
    "image_size": [64, 48, [32, 32], [32, 64], 40],
    "patch_size": [8, [16, 16], [16, 8]],
    "num_channels": [1, 4],
    "num_frames": [8, 2, 16],
    "tubelet_size": [1, 4],
    "hidden_size": [96],
    "num_hidden_layers": [1, 4],
    "num_attention_heads": [2, 3, 12, 16],
    "intermediate_size": [96, 200],
    "hidden_act": [
        *("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python", "gelu_accurate"),
        *("relu", "silu", "swish", "quick_gelu", "selu", "tanh", "gelu_10", "linear", "relu2"),
    ],
    "hidden_dropout_prob": [0.1],
    "attention_probs_dropout_prob": [0.1],
    "initializer_range": [0.5],
    "layer_norm_eps": [1e-5, 1e-3, 0.1],
    "qv_bias": [False],
    "use_mean_pooling": [False],
    "decoder_num_attention_heads": [3],
    "decoder_hidden_size": [192],
    "decoder_num_hidden_layers": [1],
    "decoder_intermediate_size": [768],
    "norm_pix_loss": [False],
    "id2label": [{0: "a", 1: "b"}, {0: "a", 1: "b", 2: "c", 3: "d"}],
    "label2id": [{"x": 0, "y": 1, "z": 2}],
    "problem_type": [
        *("single_label_classification", "multi_label_classification", "regression"),
    ],
    "transformers_version": ["4.30.0"],
    "architectures": [["VideoMAEForVideoClassification"]],
    "output_hidden_states": [True],
    "output_attentions": [True],
    "return_dict": [False],
    "dtype": ["float32"],
    "chunk_size_feed_forward": [2],
    "is_encoder_decoder": [True],
    "_name_or_path": ["somebody/something"],
    "model_type": ["vivit"],
}
REFUSED = [
    *(("image_size", value) for value in ([32, 64], 40)),
    *(("patch_size", value) for value in (8, [16, 8])),
    *(("num_channels", value) for value in (1, 4)),
    *(("tubelet_size", value) for value in (1, 4)),
    ("hidden_size", 96),
    *(("num_hidden_layers", value) for value in (1, 4)),
    *(("intermediate_size", value) for value in (96, 200)),
    *(("hidden_act", value) for value in ("selu", "tanh", "gelu_10", "linear", "relu2")),
    ("use_mean_pooling", False),
    *(("problem_type", value) for value in ("multi_label_classification", "regression")),
    ("model_type", "vivit"),
]
WHOLE = [(field, value) for field, values in OTHER_VALUES.items() for value in values]

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A ViT of few parameters, under a name of its own."""
    monkeypatch.setitem(sta.ARCHITECTURES, "vit_toy", TOY)


def saved(folder, **changes):
    """transformers' model with random weights, and the directory that it was saved in."""
    torch.manual_seed(0)
    if "id2label" in changes:
        changes["num_labels"] = len(changes["id2label"])
    config = transformers.VideoMAEConfig(**THEIRS | changes)
    theirs = transformers.VideoMAEForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
    theirs.save_pretrained(folder)
    return theirs


def edited(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


@torch.inference_mode()
def difference(ours, theirs):
    x = torch.randn(2, *ours.config.input_shape, generator=torch.Generator().manual_seed(1))
    theirs.config.return_dict = True
    want = theirs(x.transpose(1, 2)).logits
    assert float(want.std()) > 0.1
    return float((ours(x).logits - want).abs().max())


def test_no_field_of_transformers_is_forgotten():
    assert transformers.VideoMAEConfig().to_dict().keys() == OTHER_VALUES.keys()


def test_the_model_is_that_of_transformers(tmp_path):
    theirs = saved(tmp_path)
    assert difference(sta.load_model(tmp_path), theirs) < 1e-5


@pytest.mark.parametrize(("field", "value"), WHOLE, ids=[f"{f}={str(v)[:30]}" for f, v in WHOLE])
def test_every_field_is_followed_or_refused_by_name(tmp_path, field, value):
    try:
        theirs = saved(tmp_path, **{field: value})
    except Exception:  # transformers cannot build it either: its own weights under such a field
        theirs = saved(tmp_path)
    edited(tmp_path, **{field: value})
    if (field, value) not in REFUSED:
        assert difference(sta.load_model(tmp_path), theirs) < 1e-5
        return
    # Other widths and depths are no known model, whatever the configuration says.
    shapes = {
        "hidden_size": "has embed_dim 96",
        "num_hidden_layers": f"embed_dim 48 and {value} blocks",
    }
    with pytest.raises(sta.CheckpointError, match=shapes.get(field, field)) as caught:
        sta.load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "intermediate_size"])
def test_a_field_that_contradicts_the_weights_is_refused_by_name(tmp_path, field):
    saved(tmp_path)
    edited(tmp_path, **{field: 1536})
    with pytest.raises(sta.CheckpointError, match=rf"config.json: {field} is 1536; models of"):
        sta.load_model(tmp_path)


@pytest.mark.parametrize("field", ["num_frames", "image_size", "num_attention_heads"])
def test_a_field_that_is_left_out_has_transformers_default(tmp_path, field):
    theirs = saved(tmp_path, **({field: 16} if field == "num_frames" else {}))
    content = json.loads((tmp_path / "config.json").read_text())
    del content[field]
    (tmp_path / "config.json").write_text(json.dumps(content))
    ours = sta.load_model(tmp_path)
    default = transformers.VideoMAEConfig().to_dict()[field]
    names = {"num_frames": "frames", "image_size": "image_size", "num_attention_heads": "num_heads"}
    assert getattr(ours.config, names[field]) == default
    if field == "num_frames":
        assert difference(ours, theirs) < 1e-5


def test_a_field_that_is_not_known_is_refused_by_name(tmp_path):
    saved(tmp_path)
    edited(tmp_path, rotary=True)
    with pytest.raises(sta.CheckpointError, match="rotary is True; this field is not known"):
        sta.load_model(tmp_path)


def test_the_older_name_of_the_bias_is_followed_too(tmp_path):
    theirs = saved(tmp_path, qv_bias=False)
    content = json.loads((tmp_path / "config.json").read_text())
    content["qkv_bias"] = content.pop("qv_bias")
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert difference(sta.load_model(tmp_path), theirs) < 1e-5


def test_what_is_followed_reaches_tokens_masks_and_flops(tmp_path):
    saved(tmp_path, image_size=64, num_frames=8, num_attention_heads=12)
    model = sta.load_model(tmp_path, pruning=sta.Pruning(r=4))
    assert model.config.grid == (4, 16)
    assert [tuple(mask.shape) for mask in model(torch.zeros(1, 3, 8, 64, 64)).kept] == [
        (1, 4, 16)
    ] * 3
    assert sta.count_flops(model) == sta.estimate_flops(
        model.config, pruning=sta.Pruning(r=4), num_classes=3
    )


def test_a_converted_file_keeps_what_was_followed(tmp_path):
    theirs = saved(
        tmp_path / "hf", image_size=64, num_frames=8, num_attention_heads=2, hidden_act="relu"
    )
    model = sta.load_model(tmp_path / "hf")
    sta.save_checkpoint(model, tmp_path / "ours", labels=["a", "b", "c"], origin="a test")
    again = sta.load_model(tmp_path / "ours")
    assert again.config == model.config
    assert difference(again, theirs) < 1e-5


def test_a_config_that_is_no_object_is_one_line(tmp_path):
    saved(tmp_path)
    for content, said in {"[]": "holds no JSON object", "{": "no valid JSON"}.items():
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(sta.CheckpointError, match=rf"config.json.* {said}"):
            sta.load_model(tmp_path)


# --- names of classes --------------------------------------------------------------------------


def test_names_for_other_classes_than_the_weights_have_are_refused_unless_others_are_given(
    tmp_path,
):
    saved(tmp_path, id2label={0: "a", 1: "b", 2: "c"})
    assert sta.load_model(tmp_path).labels == ("a", "b", "c")
    (tmp_path / "labels").write_text("x\ny\nz")
    for by_id, said in {
        ("0", "1"): r"names 2 classes \(id2label\) and the weights have 3",
        ("1", "2", "3"): r"config.json \(id2label\) are not 0 to 2, each once: 0 is missing",
    }.items():
        edited(tmp_path, id2label={index: f"class {index}" for index in by_id})
        with pytest.raises(sta.CheckpointError, match=said):
            sta.load_model(tmp_path)
        assert sta.load_model(tmp_path, labels=tmp_path / "labels").labels == ("x", "y", "z")


# --- MCG-NJU's small models --------------------------------------------------------------------

K400 = {index: f"class {index}" for index in range(400)} | {0: "abseiling", 399: "zumba"}
SMALL = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "intermediate_size": 1536,
    "image_size": 32,
    "num_frames": 4,
}
DECODER = {
    "decoder_num_hidden_layers": 12,
    "decoder_num_attention_heads": 3,
    "decoder_hidden_size": 192,
    "decoder_intermediate_size": 768,
}


@pytest.mark.parametrize(
    ("changes", "heads"),
    [
        ({**DECODER, "id2label": K400}, 6),
        ({**DECODER, "id2label": K400, "num_attention_heads": 12}, 12),
        ({**DECODER, "id2label": {0: "own", 1: "classes"}}, 16),
        ({"id2label": K400}, 16),
    ],
    ids=["published", "published with other heads", "fine-tuned on others", "own model"],
)
def test_only_the_published_small_models_get_the_heads_that_they_were_trained_with(
    tmp_path, changes, heads, caplog
):
    theirs = saved(tmp_path, **SMALL | changes)
    with caplog.at_level(logging.WARNING, logger="sta"):
        model = sta.load_model(tmp_path)
    assert model.config.num_heads == heads
    corrected = heads == 6
    assert [message for message in caplog.messages if "heads" in message] == list(model.notes)
    assert len(model.notes) == corrected
    if corrected:
        assert "takes 6 attention heads where config.json says 16" in model.notes[0]
        assert "remove the decoder_ fields" in model.notes[0]
    else:
        assert difference(model, theirs) < 1e-5


# --- other configurations ----------------------------------------------------------------------

V2 = {
    "img_size": 32,
    "patch_size": 16,
    "in_chans": 3,
    "num_classes": 3,
    "embed_dim": 48,
    "depth": 3,
    "num_heads": 4,
    "mlp_ratio": 4,
    "qkv_bias": True,
    "qk_scale": None,
    "drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "norm_layer": "nn.LayerNorm",
    "layer_norm_eps": 1e-6,
    "init_values": 0.0,
    "use_learnable_pos_emb": False,
    "tubelet_size": 2,
    "use_mean_pooling": True,
    "all_frames": 4,
    "with_cp": False,
}


def save_v2(folder, **changes):
    folder.mkdir(exist_ok=True)
    model = sta.create_model("vit_toy", num_classes=3)
    formats.save(
        {f"model.{n}": t for n, t in model.state_dict().items()}, folder / "model.safetensors"
    )
    config = {"model_type": "VideoMAEv2_Base", "model_config": V2 | changes}
    (folder / "config.json").write_text(json.dumps(config))
    return model


def test_the_configuration_of_videomae_v2_is_followed(tmp_path):
    model = save_v2(tmp_path)
    assert formats.same_weights(sta.load_model(tmp_path), model)
    assert sta.load_model(tmp_path).config == TOY
    save_v2(tmp_path, img_size=64, all_frames=8, num_heads=12, layer_norm_eps=1e-3)
    config = sta.load_model(tmp_path).config
    assert (config.image_size, config.frames, config.num_heads, config.norm_eps) == (
        64,
        8,
        12,
        1e-3,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("patch_size", 14), ("in_chans", 1), ("num_classes", 5), ("embed_dim", 96)),
        *(("depth", 4), ("mlp_ratio", 48 / 11), ("qk_scale", 0.5), ("norm_layer", "RMSNorm")),
        *(("init_values", 1e-5), ("use_learnable_pos_emb", True), ("tubelet_size", 1)),
        *(("use_mean_pooling", False), ("cos_attn", True), ("something_new", 1), ("num_heads", 5)),
    ],
)
def test_what_videomae_v2_says_and_cannot_be_followed_is_refused_by_name(tmp_path, field, value):
    save_v2(tmp_path, **{field: value})
    with pytest.raises(sta.CheckpointError, match=f"config.json.*: {field} is "):
        sta.load_model(tmp_path)


def test_the_training_arguments_of_videomae_are_followed(tmp_path):
    model = sta.create_model("vit_toy", num_classes=3)
    arguments = {
        "input_size": 64,
        "num_frames": 4,
        "num_segments": 2,
        "tubelet_size": 2,
        "use_mean_pooling": True,
        "lr": 1e-3,
        "model": "vit_base_patch16_224",
    }

    def load(**changes):
        args = argparse.Namespace(**arguments | changes)
        torch.save({"model": model.state_dict(), "args": args}, tmp_path / "x.pth")
        return sta.load_model(tmp_path / "x.pth").config

    config = load()
    assert (config.image_size, config.frames) == (64, 8)
    for field, value in {"tubelet_size": 4, "use_mean_pooling": False, "input_size": 40}.items():
        with pytest.raises(sta.CheckpointError, match=rf"x.pth \(args\): {field} is {value}"):
            load(**{field: value})


def test_positions_for_other_clips_than_the_models_are_refused(tmp_path):
    model = sta.create_model("vit_toy", num_classes=3, frames=8)
    torch.save(formats.mmaction_videomae(model), tmp_path / "port.pth")
    with pytest.raises(
        sta.CheckpointError,
        match=r"has 16 positions \(backbone.pos_embed\), and 4 frames of 32 pixels make 8",
    ):
        sta.load_model(tmp_path / "port.pth")


# --- pixels ------------------------------------------------------------------------------------

PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "image_processor_type": "VideoMAEImageProcessor",
}


def test_the_pixels_that_the_pipeline_makes_are_accepted_in_both_writings(tmp_path):
    saved(tmp_path)
    for changes in ({}, {"size": 32, "crop_size": 32}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | changes))
        assert sta.load_model(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("image_mean", [0.5, 0.5, 0.5]), ("image_std", [0.5, 0.5, 0.5]), ("image_std", [1])),
        *(("resample", 3), ("rescale_factor", 1 / 127.5), ("do_resize", False)),
        *(("do_center_crop", False), ("do_rescale", False), ("do_normalize", False)),
        *(("size", {"shortest_edge": 256}), ("size", {"height": 32, "width": 32})),
        *(("crop_size", {"height": 64, "width": 64}), ("do_flip_channel_order", True)),
        ("offset", True),
    ],
)
def test_other_pixels_are_refused_by_name(tmp_path, field, value):
    saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {field: value}))
    with pytest.raises(
        sta.CheckpointError, match=rf"preprocessor_config.json: {field} is .*; the pipeline does "
    ) as caught:
        sta.load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_transformers_own_processor_is_accepted_for_the_published_values(tmp_path):
    saved(tmp_path)
    transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=PROCESSOR["image_mean"],
        image_std=PROCESSOR["image_std"],
    ).save_pretrained(tmp_path)
    assert sta.load_model(tmp_path).config == TOY.__class__(**TOY.__dict__ | {"norm_eps": 1e-12})
