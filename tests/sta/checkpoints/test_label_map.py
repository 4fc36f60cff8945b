"""Label maps: the mapped rows of the head alone, in any form of file, or a refusal by name."""

import json

import pytest
import torch
from torch import nn

import sta
from sta.checkpoints.label_map import read_label_map
from tests.sta import formats
from workers.inference.forward import mixed_precision

pytestmark = pytest.mark.usefixtures("toy")

NAMES = ("archery", "baking cookies", "dying hair", "eating nachos", "zumba")
CLIPS = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def read(tmp_path, content, names=NAMES, classes=5, file="map.csv"):
    path = tmp_path / file
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_label_map(path, names, classes)


def checkpoint(tmp_path):
    """A file without class names, as VideoMAE V2's are, and its model."""
    torch.manual_seed(0)
    model = sta.create_model("vit_toy", num_classes=5)
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    torch.save({"module": model.state_dict()}, tmp_path / "k5.pth")
    return tmp_path / "k5.pth", model


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_list_of_indices_keeps_its_order_and_takes_the_names_of_the_classes(tmp_path):
    found = read(tmp_path, [4, 0, 2])
    assert found.rows == (4, 0, 2)
    assert found.labels == ("zumba", "archery", "dying hair")
    assert found.is_one_to_one


def test_a_list_of_indices_takes_the_labels_own_names_if_there_are_as_many(tmp_path):
    assert read(tmp_path, [4, 0], names=("one", "two")).labels == ("one", "two")
    assert read(tmp_path, [4, 0], names=()).labels == ("0", "1")


def test_labels_alone_are_found_among_the_classes_but_for_case_and_punctuation(tmp_path):
    for content in ("Zumba\nbaking_cookies\n", ["Zumba", "baking_cookies"]):
        found = read(tmp_path, content)
        assert (found.rows, found.labels) == ((4, 1), ("Zumba", "baking_cookies"))


@pytest.mark.parametrize(
    "content",
    [
        "class,label\nzumba,dance\narchery,sport\neating nachos,\n",
        "zumba\tdance\n0\tsport\n",
        "4;dance\narchery;sport",
        {"zumba": "dance", "0": "sport", "1": None, "dying hair": ""},
    ],
)
def test_pairs_drop_classes_without_a_label_and_sort_the_labels(tmp_path, content):
    found = read(tmp_path, content)
    assert found.labels == ("dance", "sport")
    assert found.rows == (4, 0)


def test_several_classes_may_have_one_label(tmp_path):
    found = read(tmp_path, "zumba,other\narchery,sport\nbaking cookies,food\neating nachos,food\n")
    assert found.labels == ("food", "other", "sport")
    assert (found.rows, found.label_of_row) == ((1, 3, 4, 0), (0, 0, 1, 2))
    assert not found.is_one_to_one


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([0, 5], "maps class 5; the checkpoint has classes 0 to 4"),
        ([0, 0], "has class '0' more than once"),
        (["zumba", "Zumba"], "has class '4' more than once"),
        (["zumba", "zumba"], "has label 'zumba' more than once"),
        (["zumba", "yoga", "ballet"], "2 of its labels are no class of the checkpoint: 'yoga', "),
        (["zumba", "yoga"], "'yoga'. Its classes are 'archery', .*'zumba'. Write lines of two"),
        ({"yoga": "sport"}, "maps 'yoga', which is no class of the checkpoint"),
        ({"yoga": "sport"}, "from 0 to 4. Its classes are 'archery', "),
        ({"zumba": "a", "4": "b"}, "maps class '4' more than once"),
        ({"zumba": 3}, "maps 'zumba' to 3, which is no label"),
        ({"zumba": ""}, "maps no class to a label"),
        ({"zumba": "a\u0007"}, "control characters"),
        ([True, 1], "is no label map"),
        ([[1, 2]], "is no label map"),
        ("[1,", "it is no JSON"),
        ("", "maps no class"),
    ],
)
def test_what_a_map_cannot_say_is_refused(tmp_path, content, said):
    with pytest.raises(sta.CheckpointError, match=said) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_names_that_are_neither_the_classes_nor_the_labels_are_refused(tmp_path):
    with pytest.raises(sta.CheckpointError, match="2 labels are named; .* maps to 3 labels"):
        read(tmp_path, [0, 1, 2], names=("a", "b"))
    with pytest.raises(sta.CheckpointError, match="2 labels are named and the checkpoint has 5"):
        read(tmp_path, ["a"], names=("a", "b"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(sta.CheckpointError, match="cannot read the label map"):
        read_label_map(tmp_path / "none", NAMES, 5)


@torch.inference_mode()
def test_a_mapped_model_has_the_logits_of_the_mapped_classes(tmp_path):
    path, whole = checkpoint(tmp_path)
    labels = written(tmp_path / "names.txt", "\n".join(NAMES))
    mapping = written(tmp_path / "to_3.json", [4, 0, 2])
    mapped = sta.load_model(
        path, labels=labels, label_map=mapping, pruning=sta.Pruning(r=1, grouping="paper")
    )
    assert mapped.labels == ("zumba", "archery", "dying hair")
    assert mapped.head.out_features == 3
    whole = sta.load_model(path, pruning=sta.Pruning(r=1, grouping="paper"))
    want = whole(CLIPS).logits[:, [4, 0, 2]]
    torch.testing.assert_close(mapped(CLIPS).logits, want, atol=1e-6, rtol=0)
    assert mapped.notes[-1].endswith(
        "3 of its 5 classes have one of 3 labels; the others are dropped"
    )
    counted = sta.estimate_flops(mapped.config, pruning=mapped.pruning, num_classes=3)
    assert sta.count_flops(mapped) == counted


@torch.inference_mode()
def test_classes_of_one_label_add_up_their_probabilities(tmp_path):
    path, whole = checkpoint(tmp_path)
    mapping = written(tmp_path / "map.csv", "0,b\n3,b\n2,b\n4,a\n")
    mapped = sta.load_model(path, label_map=mapping)
    assert mapped.labels == ("a", "b")
    among = whole(CLIPS).logits[:, [4, 0, 2, 3]].softmax(dim=-1)
    want = torch.stack((among[:, 0], among[:, 1:].sum(dim=1)), dim=1)
    torch.testing.assert_close(mapped(CLIPS).logits.softmax(dim=-1), want)
    assert sta.count_flops(mapped) == sta.estimate_flops(mapped.config, num_classes=4)
    mixed_precision(mapped)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = mapped(CLIPS).logits
    assert logits.shape == (2, 2)
    assert logits.dtype == torch.float32
    with pytest.raises(sta.CheckpointError, match="sums 4 classes to 2 labels"):
        sta.save_checkpoint(mapped, tmp_path / "own", labels=mapped.labels, origin="a test")


@torch.inference_mode()
def test_a_mapped_model_is_saved_with_its_labels(tmp_path):
    path, _ = checkpoint(tmp_path)
    mapping = written(tmp_path / "map.json", {"4": "a", "1": "b"})
    mapped = sta.load_model(path, label_map=mapping)
    own = tmp_path / "own.safetensors"
    sta.save_checkpoint(mapped, own, labels=mapped.labels, origin="a test")
    again = sta.load_model(own)
    assert again.labels == ("a", "b")
    assert formats.same_weights(again, mapped)


def test_the_map_is_part_of_the_fingerprint_of_the_labels(tmp_path):
    path, _ = checkpoint(tmp_path)
    one, other = (
        sta.load_model(path, label_map=written(tmp_path / f"{row}.csv", f"{row},a\n1,b\n"))
        for row in (0, 2)
    )
    assert one.labels == other.labels
    prints = {sta.labels_fingerprint(each.labels, each.label_map) for each in (one, other)}
    assert len(prints | {sta.labels_fingerprint(one.labels)}) == 3


def test_names_in_the_checkpoint_are_the_classes_that_a_map_names(tmp_path):
    model = sta.create_model("vit_toy", num_classes=5)
    sta.save_checkpoint(model, tmp_path / "k5", labels=NAMES, origin="a test")
    mapping = written(tmp_path / "map.txt", "zumba\narchery\n")
    assert sta.load_model(tmp_path / "k5", label_map=mapping).labels == ("zumba", "archery")
