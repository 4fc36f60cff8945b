"""A small archive and a small model for breaking jobs."""

from __future__ import annotations

from pathlib import Path

import torch

import sta
from tests.videos import write_video


def make_archive(folder: Path, videos: int) -> Path:
    """A folder of tiny videos, each of its own length, and a broken one among them."""
    folder.mkdir(parents=True)
    for number in range(videos - 1):
        write_video(folder / f"{number:03d}.mp4", frames=12 + number % 40, height=64, width=80)
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
