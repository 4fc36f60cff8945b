"""A small archive and a small model for breaking jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import sta
from tests.videos import write_video

_DISTINCT = 12


def make_archive(folder: Path, videos: int) -> Path:
    """A folder of small videos of different lengths, and a broken one among them.

    They take a decoder some tenths of a second each, so that there is something to interrupt.
    """
    folder.mkdir(parents=True)
    for number in range(videos - 1):
        path = folder / f"{number:03d}.mp4"
        if number < _DISTINCT:
            write_video(path, frames=200 + 10 * number, height=144, width=176)
        else:
            shutil.copy(folder / f"{number % _DISTINCT:03d}.mp4", path)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def make_checkpoint(folder: Path) -> Path:
    """A vit_demo of random weights, as a file."""
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=6)
    torch.nn.init.normal_(model.head.weight, std=2.0)
    path = folder / "random.safetensors"
    sta.save_checkpoint(model, path, labels=list("abcdef"), origin="random weights")
    return path
