"""Configuration files beside weights: every field is followed or refused by name."""

import json
import logging

import pytest
import torch

import sta
from tests.sta.small_vit import edited, saved, transformers

pytestmark = pytest.mark.usefixtures("toy")

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
    "model_type": ["timesformer"],
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
    ("model_type", "timesformer"),
]
WHOLE = [(field, value) for field, values in OTHER_VALUES.items() for value in values]


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


def test_a_model_type_of_null_is_no_missing_one(tmp_path):
    saved(tmp_path)
    edited(tmp_path, model_type=None)
    with pytest.raises(sta.CheckpointError, match="model_type is None; allowed is 'videomae'"):
        sta.load_model(tmp_path)


def test_a_field_without_name_is_not_known(tmp_path):
    saved(tmp_path)
    edited(tmp_path, **{"": 4})
    with pytest.raises(sta.CheckpointError, match="is 4; this field is not known"):
        sta.load_model(tmp_path)


@pytest.mark.parametrize("value", [["gelu"], {"a": 1}])
def test_an_activation_that_is_no_name_is_refused(tmp_path, value):
    saved(tmp_path)
    edited(tmp_path, hidden_act=value)
    with pytest.raises(sta.CheckpointError, match="hidden_act is .*; allowed are gelu"):
        sta.load_model(tmp_path)
