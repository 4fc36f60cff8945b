"""A backbone is one file and one line in a table: here, the file is this one."""

import sys
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import sta
from sta.models import backbones
from sta.models.base import initialize
from sta.models.columnar import ColumnarTransformer, Rotation
from sta.models.configs import ViTConfig
from sta.models.layout import Layout
from sta.pruning import Pruning

SIZES = {"embed_dim": 16, "depth": 3, "num_heads": 2, "frames": 8, "image_size": 64}


class Toy(ColumnarTransformer):
    """A class token before the grid, and one rotary angle per temporal position."""

    prefix_tokens: ClassVar[int] = 1
    layouts: ClassVar[tuple[Layout, ...]] = (
        Layout("toy's own", marks=("blocks.", "patch_embed.", "class_token")),
        Layout("toy's", marks=("toy.",), renames=((r"^toy\.", ""),)),
    )

    def __init__(
        self,
        config: ViTConfig,
        *,
        num_classes: int,
        pruning: Pruning | None = None,
        architecture: str = "toy",
    ) -> None:
        super().__init__(
            config, num_classes=num_classes, pruning=pruning, architecture=architecture
        )
        self.class_token = nn.Parameter(torch.ones(1, 1, config.embed_dim))
        self.apply(initialize)

    def embed(self, clips: Tensor) -> Tensor:
        return torch.cat((self.class_token.expand(len(clips), -1, -1), self.patch_embed(clips)), 1)

    def rotation(self, positions: Tensor) -> Rotation:
        time = nn.functional.pad(positions // self.config.grid[1], (self.prefix_tokens, 0))
        angles = time.to(self.head.weight.dtype)[:, None, :, None]
        return Rotation(angles.cos(), angles.sin())

    def pool(self, x: Tensor) -> Tensor:
        return x[:, 0]

    @classmethod
    def pool_flops(cls, config: ViTConfig, tokens: int, *, norm: int) -> int:
        return 0


@pytest.fixture(autouse=True)
def table(monkeypatch):
    line = backbones.Backbone(__name__, "Toy", protocols="videomae")
    monkeypatch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, "toy": line})
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    shape = ViTConfig(**SIZES, key_bias=True, backbone="toy")
    monkeypatch.setitem(sta.ARCHITECTURES, "toy", shape)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return sta.create_model("toy", num_classes=3, pruning=sta.Pruning(r=4)).double()


CLIPS = torch.randn(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(1)).double()


def test_its_flops_are_counted_and_stand_in_closed_form(model):
    for convention in ("fvcore", "macs"):
        counted = sta.count_flops(model.float(), convention=convention)
        said = sta.estimate_flops(
            "toy", pruning=model.pruning, num_classes=3, convention=convention
        )
        assert counted == said


def test_its_prefix_is_never_pruned_and_enters_no_score(model):
    class_token = model.tokens(CLIPS)[0][:, 0]
    assert model.tokens(CLIPS)[0].shape[1] == 1 + int(model(CLIPS).kept[-1][0].sum())
    with torch.no_grad():
        model.class_token.mul_(1000)
        model.blocks[0].attn.qkv.weight.zero_()  # so that no token sees the class token
    moved = model.tokens(CLIPS)
    assert not torch.equal(moved[0][:, 0], class_token)
    with torch.no_grad():
        model.class_token.mul_(-1)
    assert torch.equal(model.tokens(CLIPS)[2][0], moved[2][0])


def test_rotary_positions_stay_with_their_tokens(model):
    def others(positions: Tensor) -> Rotation:
        every = torch.arange(positions.shape[1]).expand_as(positions)
        return Toy.rotation(model, every)

    pruned = model(CLIPS).logits
    model.rotation = others
    assert (model(CLIPS).logits - pruned).abs().max() > 1e-6


def test_a_rotation_by_positions_alone_sees_differences_of_positions(model):
    x = torch.randn(1, 1, 1, 8, dtype=torch.float64).expand(1, 1, 2, 8)

    def product(first: int, second: int) -> float:
        at = torch.tensor([[0, first, second]]) * model.config.grid[1]
        rotated = Toy.rotation(model, at[:, 1:]).rotate(torch.cat((x[:, :, :1], x), dim=2))
        return float((rotated[0, 0, 1] * rotated[0, 0, 2]).sum())

    assert product(0, 1) == pytest.approx(product(2, 3))
    assert product(0, 1) != pytest.approx(product(0, 2))


def test_its_files_are_told_from_others_by_their_names(model, tmp_path):
    named = {f"toy.{name}": tensor for name, tensor in model.float().state_dict().items()}
    save_file(named, tmp_path / "toy.safetensors")
    sta.save_checkpoint(model, tmp_path / "own.safetensors", labels=list("abc"), origin="a test")
    for name in ("toy.safetensors", "own.safetensors"):
        loaded = sta.load_model(tmp_path / name, pruning=model.pruning)
        assert loaded.architecture == "toy"
        assert torch.equal(loaded(CLIPS.float()).logits, model(CLIPS.float()).logits)


def test_a_shape_of_no_backbone_is_refused_with_the_table():
    with pytest.raises(ValueError, match="backbone must be one of videomae, .*, toy"):
        ViTConfig(embed_dim=16, depth=3, num_heads=2, backbone="other")


def test_its_default_pruning_is_the_one_that_comes_nearest_to_half_its_flops():
    half = sta.estimate_flops("toy") / 2
    fitting = range(sta.ARCHITECTURES["toy"].largest_r(Pruning()) + 1)
    nearest = min(
        fitting, key=lambda r: abs(sta.estimate_flops("toy", pruning=Pruning(r=r)) - half)
    )
    assert sta.default_pruning("toy").r == nearest
