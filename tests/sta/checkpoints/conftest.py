import pytest
import torch

import sta
from tests.sta.small_vit import TOY


@pytest.fixture
def toy(monkeypatch):
    """A ViT of few parameters, under a name of its own."""
    monkeypatch.setitem(sta.ARCHITECTURES, "vit_toy", TOY)


@pytest.fixture(scope="session")
def model():
    """The demo's ViT with 20 classes and random weights, which tests do not change."""
    torch.manual_seed(0)
    made = sta.create_model("vit_demo", num_classes=20)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made
