"""A labeler computes on the device that it was given, or says in one line why it cannot."""

import socket

import pytest
import torch

from workers import devices
from workers.device_names import is_cpu_name
from workers.devices import DeviceError, device_for, device_name, has_unusable_gpu
from workers.inference.labeler import Labeler
from workers.inference.labeler_config import LabelerConfig
from workers.machine import cpu_model
from workers.sampling import protocol

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update.\n"
    "Alternatively, go to: https://pytorch.org"
)
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCompile with"


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def refused():
    with pytest.raises(DeviceError) as caught:
        device_for("cuda")
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"a labeler on {socket.gethostname()} was given a GPU that torch cannot")
    assert "--num-gpus 0" in said
    return said


def failing(message):
    def fail(*args, **settings):
        raise RuntimeError(message)

    return fail


def test_a_torch_without_cuda_is_named(no_cuda, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert f"torch {torch.__version__} is built without CUDA" in refused()


def test_a_driver_that_is_too_old_is_named_by_its_own_words(no_cuda, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", failing(TOO_OLD))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    said = refused()
    assert "is built for CUDA 13.0, and torch.cuda.is_available() is False: The NVIDIA" in said
    assert "too old (found version 11040). Please update. (CUDA_VISIBLE_DEVICES is '0')" in said


def test_a_gpu_on_which_nothing_can_be_computed_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch, "ones", failing(NO_KERNEL))
    assert "fails on it: CUDA error: no kernel image is available" in refused()


def test_a_labeler_that_was_given_a_gpu_never_takes_the_cpu(no_cuda, random_checkpoint):
    config = LabelerConfig(str(random_checkpoint), device="cuda")
    with pytest.raises(DeviceError):
        Labeler(config, protocol("videomae-k400", size=112))


def test_a_labeler_that_was_given_none_never_takes_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for("cpu") == torch.device("cpu")


def test_without_a_scheduler_a_gpu_is_taken_where_there_is_one(no_cuda):
    assert device_for(None) == torch.device("cpu")


def test_a_cpu_is_named_by_its_threads_and_model():
    name = device_name(torch.device("cpu"))
    assert name == f"cpu: {name.split()[1]} {name.split()[2]} of {cpu_model()}"
    assert int(name.split()[1]) == torch.get_num_threads()
    assert is_cpu_name(name)
    assert not is_cpu_name("NVIDIA H100 80GB HBM3")


def test_a_gpu_beside_a_torch_that_cannot_use_it_is_seen(no_cuda, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path / "nvidia0")
    assert not has_unusable_gpu()
    (tmp_path / "nvidia0").touch()
    assert has_unusable_gpu()
