"""A license is said where the file, its card or its configuration states one, and nowhere else."""

import json
import logging

import pytest
import torch
from safetensors.torch import save_file

import sta
from sta.checkpoints.licenses import stated_license
from sta.checkpoints.read import read_weights
from tests.sta import formats

LABELS = [f"class {index}" for index in range(5)]


@pytest.fixture(scope="module")
def model():
    return sta.create_model("vit_demo", num_classes=5)


def test_weights_that_nobody_licensed_are_said_to_have_no_license(tmp_path, model, caplog):
    """Random weights are not VideoMAE's, whatever layout they lie in."""
    torch.save({"module": model.state_dict()}, tmp_path / "videomae.pth")
    torch.save(formats.mmaction_videomae(model), tmp_path / "port.pth")
    formats.save_hugging_face(tmp_path / "hf", model, LABELS)
    sta.save_checkpoint(model, tmp_path / "own.safetensors", labels=LABELS, origin="a test")
    with caplog.at_level(logging.INFO, logger="sta"):
        for name in ("videomae.pth", "port.pth", "hf", "own.safetensors"):
            sta.load_model(tmp_path / name)
            assert read_weights(tmp_path / name).license == ""
    assert caplog.messages == []


CARDS = {
    "---\nlicense: cc-by-nc-4.0\ntags:\n- vision\n---\n# Model\n": "cc-by-nc-4.0",
    '---\ntags:\n- license: no\nlicense: "apache-2.0"\n---\n': "apache-2.0",
    "---\r\nlicense: mit # really\r\n---\r\n": "mit",
    "---\nlicense:\n- bsd-3-clause\n---\n": "bsd-3-clause",
    "---\nlicense: other\nlicense_name: our-own\n---\n": "our-own",
    "# Model\nlicense: mit\n": "",
    "---\ntags: [license]\n---\nlicense: mit\n": "",
    "---\nlicense:\n---\n": "",
    "": "",
}


@pytest.mark.parametrize("text", CARDS)
def test_a_card_states_its_license_in_its_front_matter(tmp_path, text):
    (tmp_path / "README.md").write_bytes(text.encode())
    want = f"{CARDS[text]} (stated in README.md)" if CARDS[text] else ""
    assert stated_license({}, card=tmp_path / "README.md") == want


def test_a_stated_license_is_said_once_with_where_it_is_stated(tmp_path, model, caplog):
    folder = formats.save_hugging_face(tmp_path / "hf", model, LABELS)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    for _ in range(2):
        sta.load_model(folder)
    shown = folder / "model.safetensors"
    assert caplog.messages == [f"{shown}: license cc-by-nc-4.0 (stated in README.md)"]
    (folder / "README.md").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"license": "mit"}))
    assert read_weights(folder).license == "mit (stated in config.json)"
    save_file(model.state_dict(), tmp_path / "x.safetensors", metadata={"license": "mit"})
    assert read_weights(tmp_path / "x.safetensors").license == "mit (stated in the file)"


def test_a_hub_repository_whose_license_is_known_states_it_without_its_card():
    known = stated_license({}, hub_id="MCG-NJU/videomae-base-finetuned-kinetics")
    assert known == (
        "CC-BY-NC-4.0 (stated by the hub repository MCG-NJU/videomae-base-finetuned-kinetics)"
    )
    assert stated_license({}, hub_id="somebody/videomae") == ""
