"""Loading: what is no checkpoint, or not of this architecture or these labels, is refused."""

import pytest
import torch

import sta

LABELS = [f"class {index}" for index in range(20)]


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
