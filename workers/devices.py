"""Chooses the device of a labeler, and checks that torch can compute on it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch

from workers.device_names import DeviceKind, cpu_name

# The driver of NVIDIA GPUs creates this on every machine that has one.
_NVIDIA = Path("/dev/nvidia0")


class DeviceError(RuntimeError):
    """A labeler was given a GPU that torch cannot use."""


def device_for(kind: DeviceKind | None) -> torch.device:
    """The device of this kind, after a first computation on it.

    Args:
        kind: "cuda" for the GPU that the scheduler gave this process; "cpu" for the CPU; None for a
            GPU if torch can use one, else the CPU.

    Raises:
        DeviceError: kind is "cuda" and torch cannot compute on a GPU here; the message says why in
            one line.
    """
    if kind == "cpu" or (kind is None and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise _refusal(why_no_cuda())
    try:
        device = torch.device("cuda", torch.cuda.current_device())
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError as error:
        raise _refusal(f"torch {torch.__version__} fails on it: {_first_line(error)}") from error
    return device


def device_name(device: torch.device) -> str:
    """Such as "NVIDIA H100 80GB HBM3", or "cpu: 2 threads of AMD EPYC 7B13"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name(torch.get_num_threads())


def has_unusable_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU and torch cannot use any."""
    return _NVIDIA.exists() and not torch.cuda.is_available()


def why_no_cuda() -> str:
    """Why `torch.cuda.is_available()` is False, in one line."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    text = (
        f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, and "
        f"torch.cuda.is_available() is False"
    )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        text += f": {_first_line(error)}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return text if visible is None else f"{text} (CUDA_VISIBLE_DEVICES is {visible!r})"


def _refusal(reason: str) -> DeviceError:
    return DeviceError(
        f"a labeler on {socket.gethostname()} was given a GPU that torch cannot use: {reason}. "
        f"Install a torch with CUDA and a driver that suits it on every machine with a GPU, or "
        f"start Ray with --num-gpus 0 to label on CPUs"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
