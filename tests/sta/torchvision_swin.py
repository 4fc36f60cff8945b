"""torchvision's VideoSwin, also where its compiled operators do not fit the torch beside it."""

import importlib.util
import sys

import pytest
import torch

# Operators that torchvision registers shapes for when it is imported. No VideoSwin calls them.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[torch.library.Library] = []


def swin_module():
    """torchvision.models.video.swin_transformer, or a skipped test that says why.

    The registry's torchvision is compiled against a torch with CUDA. Beside a CPU-only torch its
    extension does not load, and the import then fails at operators that nobody declared; with them
    declared, all that is written in Python works.
    """
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed (pip install --no-deps torchvision is enough)")
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for schema in _OPERATORS:
        library.define(schema)
    _declared.append(library)
    return _import()


def _import():
    from torchvision.models.video import swin_transformer

    return swin_transformer


def to_our_names(name):
    """torchvision's parameter name in ours; None for the index tables that we do not save."""
    if name.endswith("relative_position_index"):
        return None
    if name.startswith("features."):
        _, number, rest = name.split(".", 2)
        stage, merging = divmod(int(number), 2)
        if merging:
            return f"layers.{stage}.downsample.{rest}"
        rest = rest.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
        return f"layers.{stage}.blocks.{rest}"
    return name
