"""Every published layout of VideoMAE and VideoSwin gives the same model, told by its keys."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sta
from sta.checkpoints.layouts import recognize, renamed, unwrapped
from sta.checkpoints.weights import Weights, architecture_of
from sta.models.configs import SwinConfig
from tests.sta import formats
from tests.sta.formats import same_weights

LABELS = [f"class {index}" for index in range(20)]
TOY = SwinConfig(embed_dim=32, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), frames=4, image_size=64)


def randomized(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model


@pytest.fixture(scope="module")
def vit():
    return randomized(sta.create_model("vit_demo", num_classes=20))


@pytest.fixture
def swin(monkeypatch):
    """A VideoSwin of few parameters, under a name of its own."""
    monkeypatch.setitem(sta.ARCHITECTURES, "videoswin_toy", TOY)
    return randomized(sta.create_model("videoswin_toy", num_classes=20))


@pytest.mark.parametrize("stacked_biases", [True, False])
@pytest.mark.parametrize(
    "file",
    [
        "model.safetensors",
        "pytorch_model.bin",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ],
)
def test_hugging_face_directories_load_with_their_labels(tmp_path, vit, stacked_biases, file):
    source = formats.save_hugging_face(
        tmp_path / "hf", vit, LABELS, stacked_biases=stacked_biases, file=file
    )
    loaded = sta.load_model(source)
    assert same_weights(loaded, vit)
    assert list(loaded.labels) == LABELS
    assert loaded.architecture == "vit_demo"


def test_the_weight_file_of_a_hugging_face_directory_keeps_its_labels(tmp_path, vit):
    folder = formats.save_hugging_face(tmp_path / "hf", vit, LABELS)
    assert list(sta.load_model(folder / "model.safetensors").labels) == LABELS


@pytest.mark.parametrize("key", ["module", "model", None])
def test_videomae_files_load_in_each_of_their_wrappings(tmp_path, vit, key):
    state = vit.state_dict()
    content = {
        "module": {"module": state},
        "model": {
            "model": state,
            "optimizer": {"step": np.float64(3.5), "lr": [1e-3]},
            "epoch": 3,
            "scaler": {"scale": 65536.0},
            "args": argparse.Namespace(lr=1e-3, name="run"),
        },
        None: state,
    }[key]
    torch.save(content, tmp_path / "checkpoint.pth")
    loaded = sta.load_model(tmp_path / "checkpoint.pth")
    assert same_weights(loaded, vit)
    assert loaded.labels == tuple(str(index) for index in range(20))


def test_videomae_v2_files_load_with_their_710_classes(tmp_path):
    model = randomized(sta.create_model("vit_demo", num_classes=710))
    torch.save({"module": model.state_dict()}, tmp_path / "vit_s_k710_dl_from_giant.pth")
    loaded = sta.load_model(tmp_path / "vit_s_k710_dl_from_giant.pth")
    assert same_weights(loaded, model)
    assert len(loaded.labels) == 710


def test_mmaction2_ports_of_videomae_load(tmp_path, vit):
    torch.save(formats.mmaction_videomae(vit), tmp_path / "port.pth")
    assert same_weights(sta.load_model(tmp_path / "port.pth"), vit)


def test_learned_positions_are_refused_instead_of_forgotten(tmp_path, vit):
    content = formats.mmaction_videomae(vit)
    content["state_dict"]["backbone.pos_embed"] = torch.randn(1, 392, 192)
    torch.save(content, tmp_path / "learned.pth")
    with pytest.raises(sta.CheckpointError, match=r"has learned positions \(backbone.pos_embed\)"):
        sta.load_model(tmp_path / "learned.pth")


def test_videoswin_files_load_without_their_buffers(tmp_path, swin):
    torch.save(formats.original_videoswin(swin), tmp_path / "swin.pth")
    loaded = sta.load_model(tmp_path / "swin.pth")
    assert same_weights(loaded, swin)
    assert loaded.architecture == "videoswin_toy"
    clips = torch.randn(1, *TOY.input_shape)
    with torch.no_grad():
        assert torch.equal(loaded(clips).logits, swin(clips).logits)


def test_mmaction2_ports_of_videoswin_load(tmp_path, swin):
    torch.save(formats.original_videoswin(swin, final_norm="norm3"), tmp_path / "port.pth")
    assert same_weights(sta.load_model(tmp_path / "port.pth"), swin)


@pytest.mark.parametrize("file", ["swin3d.pth", "swin3d.safetensors"])
def test_torchvision_files_load(tmp_path, swin, file):
    tensors = formats.torchvision_swin3d(swin)
    save = save_file if file.endswith("safetensors") else torch.save
    save(tensors, tmp_path / file)
    assert same_weights(sta.load_model(tmp_path / file), swin)


def test_our_own_files_load_for_both_families(tmp_path, vit, swin):
    for model in (vit, swin):
        path = tmp_path / f"{model.architecture}.safetensors"
        sta.save_checkpoint(model, path, labels=LABELS, origin="a test")
        loaded = sta.load_model(path)
        assert same_weights(loaded, model)
        assert list(loaded.labels) == LABELS
        assert loaded.architecture == model.architecture


def test_a_whole_videoswin_tiny_loads(tmp_path):
    model = sta.create_model("videoswin_tiny", num_classes=4)
    torch.save(formats.original_videoswin(model), tmp_path / "misleading_base_name.pth")
    loaded = sta.load_model(tmp_path / "misleading_base_name.pth")
    assert loaded.architecture == "videoswin_tiny"
    assert same_weights(loaded, model)


def shapes(width, depths, biases):
    """What tells architectures apart, as tensors that take no room; no biases for a ViT."""
    out = {"patch_embed.proj.weight": torch.zeros(1).expand(width, 3, 2, 4, 4)}
    for stage, depth in enumerate(depths):
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}" if biases else f"blocks.{block}"
            out[f"{prefix}.norm1.weight"] = torch.zeros(1)
    if biases:
        table = torch.zeros(1).expand(biases, width // 32)
        out["layers.0.blocks.0.attn.relative_position_bias_table"] = table
    return out | {"head.weight": torch.zeros(1).expand(400, width)}


@pytest.mark.parametrize(
    ("name", "width", "depths", "biases"),
    [
        ("vit_small", 384, (12,), 0),
        ("vit_base", 768, (12,), 0),
        ("vit_large", 1024, (24,), 0),
        ("vit_huge", 1280, (32,), 0),
        ("videoswin_tiny", 96, (2, 2, 6, 2), 15 * 13 * 13),
        ("videoswin_small", 96, (2, 2, 18, 2), 15 * 13 * 13),
        ("videoswin_base", 128, (2, 2, 18, 2), 15 * 13 * 13),
        ("videoswin_base_ssv2", 128, (2, 2, 18, 2), 31 * 13 * 13),
    ],
)
def test_every_architecture_is_told_from_its_shapes(name, width, depths, biases):
    found = renamed(unwrapped(shapes(width, depths, biases), "a file"), "a file")
    weights = Weights(found.tensors, found.backbone, "", (), "", "", "", "a file")
    assert architecture_of(weights) == name


def test_a_videoswin_of_another_window_is_refused_with_what_is_known(tmp_path, swin, monkeypatch):
    monkeypatch.delitem(sta.ARCHITECTURES, "videoswin_toy")
    torch.save(formats.original_videoswin(swin), tmp_path / "swin.pth")
    with pytest.raises(
        sta.CheckpointError,
        match=r"embed_dim 32, 1-1-2-1 blocks and 2535 rows .*base_ssv2 128, 2-2-18-2, 5239.* "
        "another size",
    ):
        sta.load_model(tmp_path / "swin.pth")


def test_half_precision_files_load_as_float32(tmp_path, vit):
    torch.save({"module": {n: t.half() for n, t in vit.state_dict().items()}}, tmp_path / "h.pth")
    loaded = sta.load_model(tmp_path / "h.pth")
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.head.weight, vit.head.weight.half().float())


def test_a_parameter_that_comes_twice_is_refused(vit):
    tensors = formats.hugging_face_names(vit.state_dict(), stacked_biases=True)
    name = "videomae.encoder.layer.0.attention.attention.query.bias"
    with pytest.raises(sta.CheckpointError, match=r"holds blocks.0.attn.q_bias twice"):
        renamed(unwrapped({**tensors, name: torch.zeros(192)}, "a file"), "a file")


def test_a_pretrained_file_without_classifier_is_refused():
    names = {"encoder.patch_embed.proj.weight": torch.zeros(1), "decoder.head.bias": torch.zeros(1)}
    with pytest.raises(sta.CheckpointError, match="pre-trained but not fine-tuned"):
        renamed(unwrapped(names, "a file"), "a file")


def test_names_of_no_layout_are_not_recognized():
    assert recognize(["conv1.weight", "fc.bias"]) is None
    assert recognize([]) is None
