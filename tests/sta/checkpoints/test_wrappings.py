"""Checkpoints as trainers wrap them: every layout, under every prefix, in every container."""

import itertools

import pytest
import torch

import sta
from sta.checkpoints.containers import unwrap
from sta.checkpoints.layouts import unwrapped
from sta.models.configs import SwinConfig, ViTConfig
from tests.sta import formats
from tests.sta.formats import same_weights

VIT = ViTConfig(embed_dim=48, depth=3, num_heads=4, image_size=32, frames=4)
SWIN = SwinConfig(
    embed_dim=32, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), frames=4, image_size=64
)

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.")
NESTED = [
    "",
    *PREFIXES,
    *("".join(pair) for pair in itertools.permutations(PREFIXES, 2)),
    "model.module._orig_mod.",
    "module.model.net.backbone.encoder._orig_mod.",
    "_orig_mod._orig_mod.module.",
]
CONTAINERS = {
    "bare": lambda state: state,
    **{
        key: lambda state, key=key: {key: state, "epoch": 3, "optimizer": {"lr": [0.1]}}
        for key in ("module", "model", "state_dict", "model_state", "model_state_dict")
    },
    **{
        key: lambda state, key=key: {key: state}
        for key in ("ema", "model_ema", "state_dict_ema", "ema_state_dict")
    },
    "twice": lambda state: {"model": {"state_dict": state}, "epoch": 3},
    "twice the same": lambda state: {"state_dict": {"state_dict": state, "step": 1}},
    "three times": lambda state: {"state_dict": {"model": {"module": state}}},
    "with counters": lambda state: {**state, "n_averaged": torch.tensor(5), "steps": 7},
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(sta.ARCHITECTURES, "vit_toy", VIT)
    monkeypatch.setitem(sta.ARCHITECTURES, "videoswin_toy", SWIN)


def made(architecture, seed=0):
    torch.manual_seed(seed)
    model = sta.create_model(architecture, num_classes=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05)
    return model


def timm_names(model):
    """One bias for the three projections, as timm has it; that of keys is 0."""
    out = dict(model.state_dict())
    for name in [name for name in out if name.endswith("q_bias")]:
        block = name.removesuffix("q_bias")
        query, value = out.pop(name), out.pop(f"{block}v_bias")
        out[f"{block}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return out


LAYOUTS = {
    "VideoMAE": ("vit_toy", lambda model: model.state_dict()),
    "VideoMAE with timm's biases": ("vit_toy", timm_names),
    "Hugging Face": (
        "vit_toy",
        lambda model: formats.hugging_face_names(model.state_dict(), stacked_biases=False),
    ),
    "Hugging Face, older": (
        "vit_toy",
        lambda model: formats.hugging_face_names(model.state_dict(), stacked_biases=True),
    ),
    "mmaction2's VideoMAE": (
        "vit_toy",
        lambda model: formats.mmaction_videomae(model)["state_dict"],
    ),
    "VideoSwin": ("videoswin_toy", lambda model: formats.original_videoswin(model)["state_dict"]),
    "mmaction2's VideoSwin": (
        "videoswin_toy",
        lambda model: formats.original_videoswin(model, final_norm="norm3")["state_dict"],
    ),
    "torchvision": ("videoswin_toy", formats.torchvision_swin3d),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_container_and_every_prefix_is_taken_off_every_layout(layout):
    architecture, names = LAYOUTS[layout]
    plain = names(made(architecture))
    want = unwrapped(plain, "a file").tensors
    for prefix, container in itertools.product(NESTED, CONTAINERS.values()):
        held = unwrap(container({f"{prefix}{name}": t for name, t in plain.items()}), "a file")
        found = unwrapped(held.tensors, "a file").tensors
        assert found.keys() == want.keys()
        assert all(found[name] is want[name] for name in want)


@pytest.mark.parametrize(
    ("layout", "container"),
    [(layout, "twice") for layout in LAYOUTS] + [("VideoMAE", each) for each in CONTAINERS],
)
def test_a_wrapped_file_gives_the_logits_of_the_plain_one(tmp_path, layout, container):
    architecture, names = LAYOUTS[layout]
    model = made(architecture)
    state = {f"net._orig_mod.module.{name}": tensor for name, tensor in names(model).items()}
    torch.save(CONTAINERS[container](state), tmp_path / "file.pth")
    loaded = sta.load_model(tmp_path / "file.pth")
    assert same_weights(loaded, model)
    assert loaded.notes == ()
    clips = torch.randn(1, *model.config.input_shape)
    with torch.inference_mode():
        assert torch.equal(loaded(clips).logits, model(clips).logits)


def test_prefixes_that_differ_between_parts_are_taken_off_too(tmp_path):
    """A classifier around a compiled backbone, single blocks of it wrapped once more."""
    model = made("vit_toy")
    state = {}
    for name, tensor in model.state_dict().items():
        prefix = "model." if name.startswith("head.") else "model.backbone._orig_mod."
        wrapped = name.replace("blocks.1.", "blocks.1._checkpoint_wrapped_module.")
        state[prefix + wrapped.replace("blocks.2.", "blocks.2._fsdp_wrapped_module.")] = tensor
    formats.save(state, tmp_path / "file.safetensors")
    assert same_weights(sta.load_model(tmp_path / "file.safetensors"), model)


def test_what_is_no_part_of_the_classifier_is_left_out(tmp_path):
    model = made("vit_toy")
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    state = formats.mmaction_videomae(model)["state_dict"] | {
        "data_preprocessor.mean": mean.view(1, 3, 1, 1, 1),
        "data_preprocessor.std": std.view(1, 3, 1, 1, 1),
        "backbone.mask_token": torch.zeros(1, 1, 8),
        "cls_head.loss_cls.class_weight": torch.ones(5),
        "decoder.blocks.0.norm1.weight": torch.ones(8),
        "encoder_to_decoder.weight": torch.ones(8, 48),
        "backbone.bn.num_batches_tracked": torch.tensor(3),
    }
    torch.save({"state_dict": state}, tmp_path / "file.pth")
    assert same_weights(sta.load_model(tmp_path / "file.pth"), model)


def test_a_file_whose_model_takes_other_pixels_is_refused(tmp_path):
    state = formats.mmaction_videomae(made("vit_toy"))["state_dict"]
    state["data_preprocessor.mean"] = torch.full((3, 1, 1, 1), 127.5)
    torch.save({"state_dict": state}, tmp_path / "file.pth")
    with pytest.raises(sta.CheckpointError, match=r"data_preprocessor.mean is \[127.5, 127.5"):
        sta.load_model(tmp_path / "file.pth")


def test_a_parameter_under_two_prefixes_is_refused_with_both(tmp_path):
    state = made("vit_toy").state_dict()
    torch.save(state | {"net.head.bias": torch.zeros(5)}, tmp_path / "file.pth")
    with pytest.raises(
        sta.CheckpointError, match=r"holds head.bias twice, as head.bias and as net.head.bias"
    ):
        sta.load_model(tmp_path / "file.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "model.encoder."])
def test_a_pretrained_model_stays_refused_under_every_prefix(tmp_path, prefix):
    state = {f"{prefix}encoder.{n}": t for n, t in made("vit_toy").state_dict().items()}
    state = {n: t for n, t in state.items() if ".head." not in n}
    state |= {f"{prefix}decoder.head.weight": torch.zeros(2), f"{prefix}mask_token": torch.zeros(1)}
    torch.save({"model": state}, tmp_path / "file.pth")
    with pytest.raises(sta.CheckpointError, match="no classifier: it is pre-trained but not fine"):
        sta.load_model(tmp_path / "file.pth")


# --- one of several sets of weights ------------------------------------------------------------


def last_and_average():
    return made("vit_toy", 1), made("vit_toy", 2)


AVERAGES = {
    "timm": lambda last, ema: {"state_dict": last, "state_dict_ema": ema},
    "VideoMAE": lambda last, ema: {"model": last, "model_ema": ema, "epoch": 1},
    "torchvision": lambda last, ema: {
        "model": last,
        "model_ema": {f"module.{n}": t for n, t in ema.items()} | {"n_averaged": torch.tensor(9)},
    },
    "a hook": lambda last, ema: {
        "state_dict": last,
        "ema_state_dict": {f"module.{n}": t for n, t in ema.items()} | {"steps": torch.tensor(9)},
    },
    "ema": lambda last, ema: {"model": last, "ema": {"module": ema, "decay": 0.999}},
    # MMEngine's hook exchanges the two when it saves.
    "MMEngine": lambda last, ema: {
        "meta": {"mmengine_version": "0.10.4", "epoch": 90},
        "state_dict": ema,
        "ema_state_dict": {f"module.{n}": t for n, t in last.items()} | {"steps": torch.tensor(9)},
    },
    "one state": lambda last, ema: (
        {f"model.{n}": t for n, t in last.items()}
        | {f"ema_model.module.{n}": t for n, t in ema.items()}
    ),
}


@pytest.mark.parametrize("writer", AVERAGES)
def test_the_moving_average_is_loaded_and_that_is_said(tmp_path, writer, caplog):
    last, ema = last_and_average()
    torch.save(AVERAGES[writer](last.state_dict(), ema.state_dict()), tmp_path / "file.pth")
    model = sta.load_model(tmp_path / "file.pth")
    assert same_weights(model, ema)
    assert len(model.notes) == 1
    assert (
        f"{tmp_path / 'file.pth'}: loads the moving average (EMA) of the weights"
        in (model.notes[0])
    )
    assert list(model.notes) == caplog.messages


def test_an_average_that_is_empty_or_in_an_unknown_form_is_not_taken_for_one(tmp_path):
    last, _ = last_and_average()
    state = last.state_dict()
    for ema, notes in ((None, 0), ("", 0), ({}, 0), ({"shadow": list(state.values())}, 1)):
        torch.save({"model": state, "ema": ema}, tmp_path / "file.pth")
        model = sta.load_model(tmp_path / "file.pth")
        assert same_weights(model, last)
        assert len(model.notes) == notes
    assert "ema is in a form that is not known" in model.notes[0]


def test_two_sets_of_weights_without_a_word_which_is_the_model_are_refused(tmp_path):
    last, other = (model.state_dict() for model in last_and_average())
    torch.save({"model": last, "state_dict": other}, tmp_path / "file.pth")
    with pytest.raises(sta.CheckpointError, match="holds weights under model and state_dict"):
        sta.load_model(tmp_path / "file.pth")


# --- timm's biases and norm --------------------------------------------------------------------


def with_key_bias(model, std):
    state = timm_names(model)
    torch.manual_seed(3)
    for name in [name for name in state if name.endswith("qkv.bias")]:
        width = len(state[name]) // 3
        state[name] = state[name].clone()
        state[name][width : 2 * width] = torch.randn(width) * std
    return state


def test_a_bias_of_keys_is_kept_since_sta_compares_keys(tmp_path):
    """Softmax does not see it: unpruned logits are the same. The keys that are compared are not."""
    model = made("vit_toy")
    torch.save(with_key_bias(model, 2.0), tmp_path / "file.pth")
    clips = torch.randn(2, *VIT.input_shape)
    biased = sta.load_model(tmp_path / "file.pth")
    assert biased.config.key_bias
    with torch.inference_mode():
        assert torch.allclose(biased(clips).logits, model(clips).logits, atol=1e-5)
        x = torch.randn(1, 8, 48)
        attention = biased.blocks[0].attn
        _, (_, keys, _) = attention(x)
        _, (_, bare, _) = model.blocks[0].attn(x)
        bias = attention.k_bias.view(1, 4, 1, 12)
        assert torch.allclose(keys, bare + bias, atol=1e-5)
    sta.save_checkpoint(biased, tmp_path / "ours", labels=list("abcde"), origin="a test")
    assert same_weights(sta.load_model(tmp_path / "ours"), biased)


def test_hugging_faces_bias_of_keys_is_kept_too(tmp_path):
    model = made("vit_toy")
    tensors = formats.hugging_face_names(model.state_dict(), stacked_biases=False)
    for block in range(3):
        tensors[f"videomae.encoder.layer.{block}.attention.attention.key.bias"] = torch.ones(48)
    formats.save(tensors, tmp_path / "file.safetensors")
    loaded = sta.load_model(tmp_path / "file.safetensors")
    assert torch.equal(loaded.blocks[2].attn.k_bias, torch.ones(48))


def test_a_norm_before_pooling_is_refused_instead_of_taken_for_the_one_after(tmp_path):
    state = {n.replace("fc_norm.", "norm."): t for n, t in made("vit_toy").state_dict().items()}
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(sta.CheckpointError, match="has norm.weight and no fc_norm.weight") as e:
        sta.load_model(tmp_path / "file.pth")
    assert "rename norm to fc_norm" in str(e.value)
