"""A head gives the same scores wherever its features come from, and its file says what it fits."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save

import sta
from sta.errors import CheckpointError
from sta.heads import FeatureSpec, LinearHead, backbone_fingerprint, head_bytes, parse_head

SPEC = FeatureSpec(
    backbone="sha256:ab",
    architecture="vit_small",
    channels=8,
    shape={"frames": 16, "mean": (0.5, 0.5, 0.5)},
    pruning={"r": 4},
    precision="float32",
)


def head(kind="softmax", **other):
    rng = np.random.default_rng(0)
    return LinearHead(
        weight=rng.normal(size=(3, 8)).astype(np.float32),
        bias=rng.normal(size=3).astype(np.float32),
        labels=("a", "b", "ü c"),
        features=SPEC,
        kind=kind,
        **other,
    )


def features(n=50):
    return np.random.default_rng(1).normal(size=(n, 8)).astype(np.float32)


def test_softmax_probabilities_sum_to_one_and_follow_the_formula():
    made, x = head(temperature=2.0), features().astype(np.float16)
    logits = (x.astype(np.float64) @ made.weight.T.astype(np.float64) + made.bias) / 2
    expected = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(made.probabilities(x), expected, rtol=1e-6)


def test_sigmoid_probabilities_are_independent_and_follow_the_formula():
    made, x = head("sigmoid"), features().astype(np.float16)
    logits = x.astype(np.float64) @ made.weight.T.astype(np.float64) + made.bias
    np.testing.assert_allclose(
        made.probabilities(x), torch.from_numpy(logits).sigmoid().numpy(), rtol=1e-6
    )
    assert np.isfinite(made.probabilities(np.full((1, 8), 60_000.0))).all()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_row_scores_the_same_bits_alone_and_beside_others_fresh_and_stored(kind):
    made, x = head(kind), features()
    together = made.probabilities(x)
    assert np.array_equal(together, made.probabilities(x.astype(np.float16)))
    for number in (0, 17, 49):
        alone = made.probabilities(x[number : number + 1])
        np.testing.assert_allclose(alone[0], together[number], rtol=0, atol=1e-7)
        assert alone[0].argmax() == together[number].argmax()


def test_a_file_gives_the_head_back():
    made = head("sigmoid", temperature=1.5, license="cc-by-4.0", trained={"videos": 100})
    back = parse_head(head_bytes(made), "head.safetensors")
    assert np.array_equal(back.weight, made.weight)
    assert np.array_equal(back.bias, made.bias)
    assert back.fingerprint == made.fingerprint
    assert (back.labels, back.kind, back.temperature) == (made.labels, "sigmoid", 1.5)
    assert (back.license, back.trained) == ("cc-by-4.0", {"videos": 100})
    back.features.check_fits(SPEC, "the run")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("a", "b", "c")},
        {"kind": "sigmoid"},
        {"temperature": 1.1},
        {"weight": np.zeros((3, 8), np.float32)},
        {"bias": np.zeros(3, np.float32)},
        {"features": dataclasses.replace(SPEC, backbone="sha256:cd")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_follows_all_that_decides_a_label(change):
    assert dataclasses.replace(head(), **change).fingerprint != head().fingerprint


def test_the_fingerprint_does_not_follow_what_is_only_told():
    told = head(license="mit", trained={"accuracy": 0.9})
    assert told.fingerprint == head().fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "sha256:cd"}, "backbone sha256:ab.*backbone sha256:cd"),
        ({"channels": 16}, "channels 8.*channels 16"),
        ({"shape": {"frames": 32, "mean": [0.5, 0.5, 0.5]}}, "frames 16.*frames 32"),
        ({"shape": {"frames": 16, "mean": [0, 0, 0]}}, "mean"),
    ],
)
def test_features_of_another_model_are_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        SPEC.check_fits(dataclasses.replace(SPEC, **change), "the run")


def test_another_pruning_or_precision_is_said_and_allowed():
    other = dataclasses.replace(SPEC, pruning={"r": 0}, precision="bfloat16")
    SPEC.check_fits(other, "the run")
    assert SPEC.differences(other) == [
        "the head was trained on features with pruning r=4; these have pruning r=0",
        "the head was trained on features with precision float32; these have precision bfloat16",
    ]
    assert SPEC.differences(SPEC) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.zeros((2, 8), np.float32)}, "shapes"),
        ({"bias": np.zeros(2, np.float32)}, "shapes"),
        ({"labels": ("a", "a", "b")}, "different"),
        ({"labels": ("a", "", "b")}, "empty"),
        ({"kind": "relu"}, "softmax or sigmoid"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
        ({"bias": np.array([0, np.inf, 0], np.float32)}, "finite"),
    ],
)
def test_wrong_fields_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(head(), **change)


def _changed(**fields):
    content = head_bytes(head())
    length = int.from_bytes(content[:8], "little")
    said = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["sta.head"])
    arrays = {"weight": head().weight, "bias": head().bias}
    return save(arrays, metadata={"sta.head": json.dumps(said | fields)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no safetensors"),
        (b"\xff" * 64, "no safetensors"),
        (head_bytes(head())[:-1], "no safetensors"),
        (save({"weight": np.zeros((3, 8), np.float32)}), "train_head.py writes one"),
        (_changed(version=2), "version 2"),
        (_changed(kind="x"), "softmax or sigmoid"),
        (_changed(labels=5), "no head of this program"),
        (_changed(features=None), "no head of this program"),
        (_changed(surprise=1), "surprise"),
        (_changed(temperature="warm"), "no head of this program"),
    ],
)
def test_files_that_are_no_heads_are_refused_by_name(content, message):
    with pytest.raises(CheckpointError, match=message) as refused:
        parse_head(content, "x.safetensors")
    assert "x.safetensors" in str(refused.value)


def test_the_backbone_s_fingerprint_is_that_of_all_but_the_head():
    model = sta.load_model(sta.DEMO_CHECKPOINT)
    before = backbone_fingerprint(model)
    with torch.no_grad():
        model.head.weight += 1
    assert backbone_fingerprint(model) == before
    with torch.no_grad():
        next(model.blocks.parameters())[0] += 1
    assert backbone_fingerprint(model) != before
