"""VideoMAE V2, training arguments, preprocessors: each field is followed or refused."""

import argparse
import dataclasses
import json

import numpy as np
import pytest
import torch

import sta
from tests.sta import formats
from tests.sta.small_vit import TOY, saved, transformers
from workers.inference.pixels import normalized

pytestmark = pytest.mark.usefixtures("toy")

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


def test_the_giants_patches_and_mlp_ratio_are_followed(tmp_path, monkeypatch):
    shape = dataclasses.replace(TOY, embed_dim=44, patch_size=14, mlp_dim=192, image_size=28)
    monkeypatch.setitem(sta.ARCHITECTURES, "vit_toy", shape)
    written = json.loads(json.dumps(48 / 11))
    model = save_v2(
        tmp_path, img_size=28, embed_dim=44, patch_size=14, mlp_ratio=written, num_heads=4
    )
    loaded = sta.load_model(tmp_path)
    assert formats.same_weights(loaded, model)
    assert loaded.config == shape
    torch.save({"module": model.half().state_dict()}, tmp_path / "giant.pth")
    assert sta.load_model(tmp_path / "giant.pth").config == shape


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
        *(("resample", 3), ("do_resize", False), ("do_center_crop", False), ("do_rescale", False)),
        *(("size", {"shortest_edge": 256}), ("size", {"height": 32, "width": 32})),
        *(("crop_size", {"height": 64, "width": 64}), ("do_flip_channel_order", True)),
    ],
)
def test_other_pixels_are_refused_by_name(tmp_path, field, value):
    saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {field: value}))
    with pytest.raises(
        sta.CheckpointError,
        match=rf"preprocessor_config.json: {field} is .*; the pipeline does .*"
        r"If the model was trained as the pipeline does it, remove .*preprocessor_config.json ",
    ) as caught:
        sta.load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("image_std", [1]), ("image_std", [0.2, 0.0, 0.2]), ("image_mean", [0.5, 0.5, 1.5])),
        *(("image_mean", ["a"] * 3), ("rescale_factor", 0), ("rescale_factor", 255)),
        *(("offset", "yes"), ("do_normalize", 1)),
    ],
)
def test_a_normalization_that_cannot_be_is_refused_by_name(tmp_path, field, value):
    saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {field: value}))
    with pytest.raises(sta.CheckpointError, match=rf"_config.json: {field} is .*; allowed is "):
        sta.load_model(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
    ],
    ids=str,
)
def test_pixels_are_normalized_as_transformers_processor_does_it(tmp_path, changes):
    saved(tmp_path)
    usual = {name: PROCESSOR[name] for name in ("size", "crop_size", "image_mean", "image_std")}
    theirs = transformers.VideoMAEImageProcessor(**usual | changes)
    theirs.save_pretrained(tmp_path)
    check_pixels(sta.load_model(tmp_path), theirs)


def check_pixels(model, processor):
    """A model's normalization against transformers' processor, on frames of the crop's size."""
    size, frames = model.config.image_size, model.config.frames
    drawn = np.random.default_rng(0).integers(0, 256, (frames, size, size, 3), dtype=np.uint8)
    want = processor(list(drawn), return_tensors="pt", do_resize=False).pixel_values
    scale = (torch.tensor(each) for each in (model.config.mean, model.config.std))
    ours = normalized(torch.from_numpy(drawn)[None], *scale)
    torch.testing.assert_close(ours.transpose(1, 2), want.float(), atol=1e-5, rtol=0)


def test_transformers_own_processor_is_accepted_for_the_published_values(tmp_path):
    saved(tmp_path)
    transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=PROCESSOR["image_mean"],
        image_std=PROCESSOR["image_std"],
    ).save_pretrained(tmp_path)
    assert sta.load_model(tmp_path).config == TOY.__class__(**TOY.__dict__ | {"norm_eps": 1e-12})


def test_names_of_transformers_interface_are_unknown_in_a_configuration_of_videomae_v2(tmp_path):
    others = {"id2label": {"0": "a"}, "num_labels": 3, "_x": 1, "dtype": "float32"}
    for field, value in others.items():
        save_v2(tmp_path, **{field: value})
        with pytest.raises(sta.CheckpointError, match=rf"{field} is .*this field is not known"):
            sta.load_model(tmp_path)


@pytest.mark.parametrize("field", ["use_mean_pooling", "num_heads", "in_chans", "unknown"])
def test_null_says_nothing_in_a_configuration_of_videomae_v2(tmp_path, field):
    save_v2(tmp_path, **{field: None})
    with pytest.raises(sta.CheckpointError, match=f"{field} is None"):
        sta.load_model(tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        {"do_normalize": True},
        {"rescale_factor": 1 / 255},
        {"offset": False},
        {"image_mean": [0.485, 0.456, 0.406]},
        {"image_mean": None, "do_normalize": True},
    ],
)
def test_what_a_preprocessor_leaves_out_of_the_normalization_is_the_models(tmp_path, said):
    saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    config = sta.load_model(tmp_path).config
    assert (config.mean, config.std) == (TOY.mean, TOY.std)


def test_a_normalization_that_loads_is_saved_and_loaded_again(tmp_path):
    saved(tmp_path)
    said = PROCESSOR | {"rescale_factor": 0.001, "offset": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    model = sta.load_model(tmp_path)
    assert min(model.config.mean) > 1
    sta.save_checkpoint(model, tmp_path / "own.safetensors", labels=list("abc"), origin="a test")
    assert sta.load_model(tmp_path / "own.safetensors").config == model.config


def test_a_normalization_of_no_finite_pixels_is_refused(tmp_path):
    saved(tmp_path)
    for field, value in {"rescale_factor": 1e-310, "image_std": [1e-320] * 3}.items():
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {field: value}))
        with pytest.raises(sta.CheckpointError, match="must be three numbers from"):
            sta.load_model(tmp_path)
