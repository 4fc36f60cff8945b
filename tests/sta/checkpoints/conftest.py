import pytest

import sta
from tests.sta.small_vit import TOY


@pytest.fixture
def toy(monkeypatch):
    """A ViT of few parameters, under a name of its own."""
    monkeypatch.setitem(sta.ARCHITECTURES, "vit_toy", TOY)
