"""Checkpoints: every layout gives the same model, and nothing in a file is run."""

import hashlib
import os
import pickle
import re

import numpy as np
import pytest
import torch

import sta
from tests.sta.formats import same_weights, save_hugging_face

LABELS = [f"class {index}" for index in range(20)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = sta.create_model("vit_demo", num_classes=20)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


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
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
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
        "pointer": "is a Git LFS pointer in place of the weights",
        "folder": "without model.safetensors or pytorch_model.bin",
        "other.pth": "no known layout",
        "list.pth": "no dictionary of tensors",
        "headless.pth": "no classifier",
        "partial.pth": "lacks blocks.0.mlp.fc2.bias",
        "misshapen.pth": r"fc_norm.weight has shape \(3,\) where vit_demo has \(192,\)",
        "surplus.pth": "has extra.weight besides",
        "shallow.pth": "embed_dim 192 and 5 blocks; the known models are .* another size of a "
        "backbone.* in sta/models/README.md .* sta.apply",
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
    with pytest.raises(ValueError, match="unknown architecture 'vit'; available are"):
        sta.load_model(path, architecture="vit")


def test_a_label_file_of_another_length_is_refused(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    (tmp_path / "labels").write_text("one\ntwo")
    with pytest.raises(sta.CheckpointError, match="names 2 labels .* has 20 classes"):
        sta.load_model(tmp_path / "bare.pth", labels=tmp_path / "labels")


def test_a_torch_that_reads_pickles_unsafely_reads_none(tmp_path, model, monkeypatch):
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    sta.save_checkpoint(model, tmp_path / "ours", labels=LABELS, origin="a test")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(
        sta.UnsafePickle, match=r"torch 2.9.1\+cpu cannot read safely; use torch 2.10"
    ):
        sta.load_model(tmp_path / "bare.pth")
    assert same_weights(sta.load_model(tmp_path / "ours"), model)
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    assert same_weights(sta.load_model(tmp_path / "bare.pth"), model)


@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, model, kind):
    path = tmp_path / "cut"
    if kind == "pickle":
        torch.save(model.state_dict(), path)
    else:
        sta.save_checkpoint(model, path, labels=LABELS, origin="a test")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="whole") as caught:
        sta.load_model(path)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_that_of_sha256sum_over_one_file_or_the_digests_of_all(tmp_path, model):
    whole = save_hugging_face(tmp_path / "whole", model, LABELS)
    shards = save_hugging_face(
        tmp_path / "shards", model, LABELS, file="model.safetensors.index.json"
    )
    one = hashlib.sha256((whole / "model.safetensors").read_bytes()).hexdigest()
    assert sta.load_model(whole).fingerprint == f"sha256:{one}"
    each = [hashlib.sha256(p.read_bytes()).hexdigest() for p in shards.glob("*.safetensors")]
    joined = "".join(f"{digest}\n" for digest in sorted(each))
    all_of_them = hashlib.sha256(joined.encode()).hexdigest()
    assert sta.load_model(shards).fingerprint == f"sha256:{all_of_them}"
