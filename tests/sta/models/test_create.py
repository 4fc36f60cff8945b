"""Shapes of parameters without a model, compared with those of real models."""

import dataclasses
import subprocess
import sys

import pytest

import sta
from sta.models.architectures import ARCHITECTURES
from sta.models.configs import ViTConfig
from sta.models.create import model_from_config, parameter_shapes

# Of each family the smallest model, in every form that changes the parameters.
SHAPES = {
    "vit_demo": ARCHITECTURES["vit_demo"],
    "vit_demo with key biases": dataclasses.replace(ARCHITECTURES["vit_demo"], key_bias=True),
    "a wide MLP": ViTConfig(embed_dim=48, depth=3, num_heads=4, mlp_dim=144, image_size=32),
    "videoswin_tiny": ARCHITECTURES["videoswin_tiny"],
    "a V-JEPA 2": ViTConfig(
        embed_dim=48, depth=3, num_heads=3, image_size=32, mlp_dim=144, backbone="vjepa2"
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_they_are_those_of_the_model(name):
    model = model_from_config(SHAPES[name], "any", num_classes=5)
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert parameter_shapes(SHAPES[name], num_classes=5) == state


def test_they_take_no_part_of_torch_that_takes_a_second_to_load():
    code = (
        "import sys, sta; from sta.models.create import parameter_shapes\n"
        "for config in sta.ARCHITECTURES.values(): parameter_shapes(config, num_classes=2)\n"
        "print('sympy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_they_cost_no_memory_whatever_the_size():
    shapes = parameter_shapes(sta.ARCHITECTURES["vit_huge"], num_classes=10**12)
    assert shapes["head.weight"] == (10**12, 1280)
