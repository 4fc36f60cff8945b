"""preprocessor_config.json: how pixels are normalized, and what the pipeline does not do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sta.checkpoints.config_files import Shape, read_json
from sta.errors import CheckpointError
from sta.models.configs import Color
from sta.models.create import model_class

# Fields that have one allowed value.
_STEPS = {
    "do_resize": True,
    "do_center_crop": True,
    "do_rescale": True,
    "do_flip_channel_order": False,
}
_BILINEAR = 2

# Fields that normalize pixels; a file without any says nothing about it.
_NORMALIZATION = ("rescale_factor", "offset", "do_normalize", "image_mean", "image_std")

# What transformers' ViViT processors do where a file does not say it; others do not offset.
_VIVIT = {"rescale_factor": 1 / 127.5, "offset": True, "image_mean": 0.5, "image_std": 0.5}

# Of a file's numbers from those of the model, which are then taken as they are.
_TOLERANCE = 1e-3


def with_normalization(shape: Shape, path: Path, shown: str) -> Shape:
    """A shape with the mean and standard deviation of a preprocessor_config.json.

    Processors compute x * rescale_factor, less 1 with `offset`, then with `do_normalize` less
    image_mean, over image_std; in one step that is (x / 255 - mean) / std.

    Raises:
        CheckpointError: the file cannot be read, or holds a value that is not allowed.
    """
    content = read_json(path, shown)
    if all(content.get(name) is None for name in _NORMALIZATION):
        return shape
    own = {"image_mean": list(shape.mean), "image_std": list(shape.std)}
    others = {"rescale_factor": 1 / 255, "offset": False, **own}
    usual = _VIVIT if "Vivit" in str(_processor(content)) else others
    said = {**usual, **{k: v for k, v in content.items() if v is not None}}
    scale = said["rescale_factor"]
    if type(scale) not in (int, float) or not 0 < scale < 1:
        raise _refused(shown, "rescale_factor", scale, "a number between 0 and 1")
    for name in ("offset", "do_normalize"):
        if type(said.get(name, True)) is not bool:
            raise _refused(shown, name, said[name], "true or false")
    if not said.get("do_normalize", True):
        said |= {"image_mean": 0.0, "image_std": 1.0}
    mean, std = (_color(said, name, shown) for name in ("image_mean", "image_std"))
    if min(std) <= 0:
        raise _refused(shown, "image_std", said["image_std"], "three numbers above 0")
    unit, low = 255 * scale, 1.0 if said["offset"] else 0.0
    found = [((low + m) / unit, s / unit) for m, s in zip(mean, std, strict=True)]
    (red, red_std), (green, green_std), (blue, blue_std) = found
    said_mean, said_std = (red, green, blue), (red_std, green_std, blue_std)
    if _close(said_mean, shape.mean) and _close(said_std, shape.std):
        return shape
    try:
        return dataclasses.replace(shape, mean=said_mean, std=said_std)
    except ValueError as error:
        raise CheckpointError(f"{shown}: in pixels from 0 to 1, its {error}") from None


def _processor(content: Mapping[str, Any]) -> object:
    return content.get("image_processor_type") or content.get("video_processor_type") or ""


def _color(content: Mapping[str, Any], name: str, shown: str) -> Color:
    value = content.get(name)
    values: list[Any] = value if isinstance(value, list) else [value] * 3
    if len(values) != 3 or any(type(v) not in (int, float) or not 0 <= v <= 1 for v in values):
        raise _refused(shown, name, value, "three numbers from 0 to 1")
    red, green, blue = map(float, values)
    return red, green, blue


def _refused(shown: str, name: str, value: object, allowed: str) -> CheckpointError:
    return CheckpointError(f"{shown}: {name} is {value!r}; allowed is {allowed}")


def _close(values: Color, wanted: Color) -> bool:
    return all(
        math.isclose(value, want, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        for value, want in zip(values, wanted, strict=True)
    )


def unlike_the_pipeline(path: Path, shown: str, shape: Shape) -> list[str]:
    """Fields of a preprocessor_config.json that differ from the pipeline, one line each.

    Frames are resized bilinearly and cropped to squares of `image_size`. The processors of a
    backbone's checkpoints resize to a short side of `VideoModel.processor_short_side`. The sampling
    protocol says which frames and crops are taken.

    Raises:
        CheckpointError: the file cannot be read.
    """
    content = read_json(path, shown)
    size = shape.image_size
    short = model_class(shape.backbone).processor_short_side(size)
    wanted: dict[str, Callable[[Any], bool]] = {
        **{name: want.__eq__ for name, want in _STEPS.items()},
        "resample": lambda v: v in (_BILINEAR, "bilinear"),
        "size": lambda v: v in (short, {"shortest_edge": short}),
        "crop_size": lambda v: v in (size, {"height": size, "width": size}),
    }
    done = {
        **_STEPS,
        "resample": f"{_BILINEAR} (bilinear)",
        "size": {"shortest_edge": short},
        "crop_size": {"height": size, "width": size},
    }
    return [
        f"{shown}: {name} is {content[name]!r}; the pipeline does {done[name]}"
        for name, holds in wanted.items()
        if content.get(name) is not None and not holds(content[name])
    ]
