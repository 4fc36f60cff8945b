"""Checkpoints: every layout gives the same model, and nothing in a file is run."""

import argparse
import json
import os
import pickle
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sta

LABELS = [f"class {index}" for index in range(20)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = sta.create_model("vit_demo", num_classes=20)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def hugging_face_names(state, *, stacked_biases):
    """VideoMAE's names to Hugging Face's, in the older or the newer of its two bias layouts."""
    out = {}
    for name, tensor in state.items():
        name = name.replace("patch_embed.proj", "videomae.embeddings.patch_embeddings.projection")
        name = re.sub(r"^head\.", "classifier.", name)
        name = re.sub(r"^blocks\.", "videomae.encoder.layer.", name)
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace(".attn.proj.", ".attention.output.dense.")
        name = name.replace(".mlp.fc1.", ".intermediate.dense.")
        name = name.replace(".mlp.fc2.", ".output.dense.")
        inner = name.replace(".attn.", ".attention.attention.")
        if name.endswith("qkv.weight"):
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[inner.replace("qkv", part)] = piece.contiguous()
        elif stacked_biases:
            out[inner] = tensor
        else:
            out[inner.replace("q_bias", "query.bias").replace("v_bias", "value.bias")] = tensor
    return out


def save_hugging_face(folder, model, *, stacked_biases=True, file="model.safetensors"):
    folder.mkdir()
    tensors = hugging_face_names(model.state_dict(), stacked_biases=stacked_biases)
    if file.endswith(".safetensors"):
        save_file(tensors, folder / file)
    else:
        torch.save(tensors, folder / file)
    config = {"id2label": {str(i): LABELS[i] for i in reversed(range(20))}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def same_weights(a, b):
    return all(torch.equal(a.state_dict()[name], t) for name, t in b.state_dict().items())


@pytest.mark.parametrize("stacked_biases", [True, False])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_hugging_face_directories_load_with_their_labels(tmp_path, model, stacked_biases, file):
    source = save_hugging_face(tmp_path / "hf", model, stacked_biases=stacked_biases, file=file)
    loaded = sta.load_model(source)
    assert same_weights(loaded, model)
    assert list(loaded.labels) == LABELS
    assert loaded.architecture == "vit_demo"


@pytest.mark.parametrize("key", ["module", "model", None])
def test_videomae_files_load_in_each_of_their_wrappings(tmp_path, model, key):
    state = model.state_dict()
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
    assert same_weights(loaded, model)
    assert loaded.labels == tuple(str(index) for index in range(20))


def test_half_precision_files_load_as_float32(tmp_path, model):
    torch.save({"module": {n: t.half() for n, t in model.state_dict().items()}}, tmp_path / "h.pth")
    loaded = sta.load_model(tmp_path / "h.pth")
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32}


def test_numpy_scalars_under_their_old_address_load(tmp_path, model):
    path = tmp_path / "old.pth"
    torch.save({"model": model.state_dict(), "best": np.float64(81.2)}, path)
    raw = path.read_bytes()
    assert b"numpy._core.multiarray" in raw
    with open(path, "wb") as file:
        torch.save({"model": model.state_dict(), "best": np.float64(81.2)}, file, _old_pickle())
    assert same_weights(sta.load_model(path), model)


def _old_pickle():
    """A pickle module that writes NumPy's scalar under the name that old NumPy gave it."""

    class Old:
        HIGHEST_PROTOCOL = 2
        Unpickler = pickle.Unpickler

        class Pickler(pickle._Pickler):
            def save_global(self, obj, name=None):
                if getattr(obj, "__name__", "") == "scalar":
                    self.write(pickle.GLOBAL + b"numpy.core.multiarray\nscalar\n")
                    self.memoize(obj)
                else:
                    super().save_global(obj, name)

    return Old


def test_a_saved_model_comes_back_with_labels_and_pruning(tmp_path, model):
    path = tmp_path / "ours.safetensors"
    sta.save_checkpoint(model, path, labels=LABELS, origin="a test")
    loaded = sta.load_model(path, pruning=sta.Pruning(r=8))
    assert same_weights(loaded, model)
    assert list(loaded.labels) == LABELS
    assert len(loaded.stages) == 3
    assert re.fullmatch("sha256:[0-9a-f]{64}", loaded.fingerprint)


def test_the_fingerprint_follows_the_weights(tmp_path, model):
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    sta.save_checkpoint(model, a, labels=LABELS, origin="a test")
    with torch.no_grad():
        model.head.bias[0] += 1
    sta.save_checkpoint(model, b, labels=LABELS, origin="a test")
    assert sta.load_model(a).fingerprint != sta.load_model(b).fingerprint


class RunsCommand:
    """A pickle that would make a file when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_a_command_is_refused_by_name_and_does_not_run(
    tmp_path, model, legacy
):
    trace = tmp_path / "was-run"
    content = {"model": model.state_dict(), "args": RunsCommand(trace)}
    path = tmp_path / "hostile.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(sta.UnsafePickle, match=r"mkdir.* could run code"):
        sta.load_model(path)
    assert not trace.exists()


def test_a_plain_hostile_pickle_is_refused_too(tmp_path):
    trace = tmp_path / "was-run"
    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps(RunsCommand(trace)))
    with pytest.raises(sta.UnsafePickle, match="was not loaded"):
        sta.load_model(path)
    assert not trace.exists()


def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path, model):
    text = tmp_path / "notes.pth"
    text.write_text("hello")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "folder").mkdir()
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    state = model.state_dict()
    torch.save({n: t for n, t in state.items() if "head" not in n}, tmp_path / "headless.pth")
    torch.save({n: t for n, t in state.items() if "fc2" not in n}, tmp_path / "partial.pth")
    torch.save(state | {"fc_norm.weight": torch.ones(3)}, tmp_path / "misshapen.pth")
    torch.save(state | {"extra.weight": torch.ones(3)}, tmp_path / "surplus.pth")
    shallow = {n: t for n, t in state.items() if not n.startswith("blocks.5")}
    torch.save(shallow, tmp_path / "shallow.pth")
    for name, said in {
        "notes.pth": "no torch file",
        "empty.pth": "no torch file",
        "folder": "without model.safetensors or pytorch_model.bin",
        "other.pth": "no known layout",
        "list.pth": "no dictionary of tensors",
        "headless.pth": "no classifier",
        "partial.pth": "lacks blocks.0.mlp.fc2.bias",
        "misshapen.pth": r"fc_norm.weight has shape \(3,\) where vit_demo has \(192,\)",
        "surplus.pth": "has extra.weight besides",
        "shallow.pth": "width 192 and 5 blocks, which is no known model",
        "absent.pth": "no checkpoint at",
    }.items():
        with pytest.raises(ValueError, match=said) as caught:
            sta.load_model(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, model):
    path = tmp_path / "ours.safetensors"
    sta.save_checkpoint(model, path, labels=LABELS, origin="a test")
    with pytest.raises(sta.CheckpointError, match="shapes of vit_demo, not of vit_base"):
        sta.load_model(path, architecture="vit_base")
    with pytest.raises(ValueError, match="unknown architecture 'vit'; there are"):
        sta.load_model(path, architecture="vit")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LABELS),
        "\n".join(f"{i},{name}" for i, name in enumerate(LABELS)),
        "id,name\n" + "\n".join(f'{i},"{name}"' for i, name in enumerate(LABELS)),
        json.dumps(LABELS),
        json.dumps({str(i): name for i, name in enumerate(LABELS)}),
    ],
    ids=["lines", "csv", "csv with header", "json list", "json object"],
)
def test_label_files_of_every_kind_name_the_classes(tmp_path, model, text):
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    (tmp_path / "labels").write_text(text)
    loaded = sta.load_model(tmp_path / "bare.pth", labels=tmp_path / "labels")
    assert list(loaded.labels) == LABELS


def test_a_label_file_of_another_length_is_refused(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    (tmp_path / "labels").write_text("one\ntwo")
    with pytest.raises(sta.CheckpointError, match="names 2 labels .* has 20 classes"):
        sta.load_model(tmp_path / "bare.pth", labels=tmp_path / "labels")
