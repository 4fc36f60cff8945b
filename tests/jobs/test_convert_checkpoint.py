"""A converted checkpoint is the same model, and says where it came from."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import sta
from jobs.convert_checkpoint import main
from tests.sta import formats

LABELS = [f"class {index}" for index in range(20)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return sta.create_model("vit_demo", num_classes=20)


@pytest.fixture
def hub_folder(tmp_path, model):
    folder = formats.save_hugging_face(tmp_path / "hf", model, LABELS, file="pytorch_model.bin")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    return folder


def metadata(path):
    with safe_open(str(path), framework="pt") as file:
        return file.metadata()


def test_the_file_loads_to_the_same_bits_and_labels(hub_folder, tmp_path, model, capsys):
    dest = tmp_path / "out.safetensors"
    assert main([str(hub_folder), str(dest)]) == 0
    source, loaded = sta.load_model(hub_folder), sta.load_model(dest)
    assert formats.same_weights(loaded, source)
    assert loaded.labels == source.labels == tuple(LABELS)
    assert loaded.architecture == "vit_demo"
    said = metadata(dest)
    assert said["sta.origin"] == str(hub_folder)
    assert said["sta.source_fingerprint"] == source.fingerprint
    assert said["sta.license"] == "cc-by-nc-4.0 (stated in README.md)"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert f"{dest}: vit_demo, 20 labels, " in lines[0]
    assert "(Hugging Face's VideoMAE); license cc-by-nc-4.0 (stated in README.md)" in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "out.safetensors"]


def test_a_converted_file_keeps_origin_and_license_when_it_is_converted_again(hub_folder, tmp_path):
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    main([str(hub_folder), str(first)])
    assert main([str(first), str(second)]) == 0
    for key in ("sta.origin", "sta.license", "sta.labels"):
        assert metadata(second)[key] == metadata(first)[key]


def test_weights_that_nobody_licensed_are_converted_without_a_word_of_one(
    hub_folder, tmp_path, capsys
):
    (hub_folder / "README.md").unlink()
    assert main([str(hub_folder), str(tmp_path / "out")]) == 0
    assert "; license" not in capsys.readouterr().out
    assert "sta.license" not in metadata(tmp_path / "out")


def test_what_was_chosen_or_corrected_is_said(tmp_path, model, capsys, caplog):
    state = model.state_dict()
    torch.save({"model": state, "model_ema": state}, tmp_path / "both.pth")
    assert main([str(tmp_path / "both.pth"), str(tmp_path / "out")]) == 0
    assert "loads the moving average (EMA) of the weights, model_ema" in caplog.text


def test_half_precision_is_written_as_float32(tmp_path, model):
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    torch.save({"module": half}, tmp_path / "half.pth")
    assert main([str(tmp_path / "half.pth"), str(tmp_path / "out")]) == 0
    assert formats.same_weights(
        sta.load_model(tmp_path / "out"), sta.load_model(tmp_path / "half.pth")
    )
    with safe_open(str(tmp_path / "out"), framework="pt") as file:
        assert file.get_tensor("head.weight").dtype == torch.float32


def test_labels_can_be_named(tmp_path, model, capsys):
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    names = [f"name {index}" for index in range(20)]
    (tmp_path / "labels.json").write_text(json.dumps(names))
    assert main([str(tmp_path / "bare.pth"), str(tmp_path / "a")]) == 0
    assert "20 classes without names (--labels gives them)" in capsys.readouterr().out
    labels = str(tmp_path / "labels.json")
    assert main([str(tmp_path / "bare.pth"), str(tmp_path / "b"), "--labels", labels]) == 0
    assert list(sta.load_model(tmp_path / "b").labels) == names


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(hub_folder, tmp_path, capsys):
    (tmp_path / "there").touch()
    (tmp_path / "short").write_text("one\ntwo")
    before = sorted(tmp_path.iterdir())
    for arguments, said in [
        (["absent.pth", tmp_path / "out"], "no checkpoint at absent.pth"),
        ([hub_folder, tmp_path / "there"], "is there already; name another file or remove it"),
        ([hub_folder, tmp_path / "no" / "out"], "there is no folder"),
        ([hub_folder, "s3://bucket/out"], "DEST must be a file on this machine"),
        ([hub_folder, tmp_path / "out", "--labels", tmp_path / "short"], "names 2 labels"),
    ]:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert said in lines[0]
        assert sorted(tmp_path.iterdir()) == before


def test_a_hostile_pickle_is_refused_by_name_and_does_not_run(tmp_path, model, capsys):
    trace = tmp_path / "was-run"

    class RunsCommand:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    torch.save({"model": model.state_dict(), "args": RunsCommand()}, tmp_path / "hostile.pth")
    assert main([str(tmp_path / "hostile.pth"), str(tmp_path / "out")]) == 2
    assert "mkdir, which could run code" in capsys.readouterr().err
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


def test_the_job_can_be_run_as_a_file():
    job = Path(__file__).parents[2] / "jobs" / "convert_checkpoint.py"
    assert os.access(job, os.X_OK)
    assert job.read_text().startswith("#!/usr/bin/env python3\n")
