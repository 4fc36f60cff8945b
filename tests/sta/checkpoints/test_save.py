"""A saved model: what comes back of it, and its fingerprint."""

import copy
import re

import torch

import sta
from tests.sta.formats import same_weights

LABELS = [f"class {index}" for index in range(20)]


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
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.bias[0] += 1
    sta.save_checkpoint(other, b, labels=LABELS, origin="a test")
    assert sta.load_model(a).fingerprint != sta.load_model(b).fingerprint
