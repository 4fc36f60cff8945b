"""A ViT of few parameters as transformers saves it, with its configuration file."""

import json

import pytest
import torch

from sta.models.configs import ViTConfig

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TOY = ViTConfig(embed_dim=48, depth=3, num_heads=4, image_size=32, frames=4)
THEIRS = {
    "image_size": 32,
    "num_frames": 4,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "num_labels": 3,
}


def saved(folder, **changes):
    """transformers' model with random weights, and the directory that it was saved in."""
    torch.manual_seed(0)
    if "id2label" in changes:
        changes["num_labels"] = len(changes["id2label"])
    config = transformers.VideoMAEConfig(**THEIRS | changes)
    theirs = transformers.VideoMAEForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
    theirs.save_pretrained(folder)
    return theirs


def edited(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))
