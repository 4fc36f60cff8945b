"""Old .pth files: nothing in them is run, and their tensors come whole or not at all."""

import os
import pickle

import numpy as np
import pytest
import torch

import sta
from tests.sta.formats import same_weights

LABELS = [f"class {index}" for index in range(20)]


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
