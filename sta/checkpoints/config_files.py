"""Configuration files beside weights: every field is followed or refused by name.

Supported are the config.json of each backbone (`VideoModel.config_jsons`) and the training
arguments in VideoMAE's own files. A field that describes the model sets a field
of its shape (`ViTConfig`, `SwinConfig`); a value that the model does not support is refused. Fields
that cannot change a label, such as those of training, are ignored.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sta.checkpoints.limits import read_companion
from sta.errors import CheckpointError
from sta.models.configs import Activation, SwinConfig, ViTConfig
from sta.models.create import model_classes
from sta.models.layout import ConfigJson

Shape = ViTConfig | SwinConfig

# transformers' names of activations to ours.
_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

# Fields of transformers' interface and of training, of any backbone, which do not enter a
# classifier's logits.
_WITHOUT_EFFECT = {
    *("architectures", "transformers_version", "model_type", "license", "licence"),
    *("output_hidden_states", "output_attentions", "return_dict", "torchscript"),
    *("dtype", "torch_dtype", "attn_implementation", "gradient_checkpointing"),
    *("chunk_size_feed_forward", "is_encoder_decoder", "tie_word_embeddings", "finetuning_task"),
    "initializer_range",
}

# Fields of any classifier of transformers, whose rules have their names.
_CLASSIFIER = ("num_labels", "id2label", "label2id", "problem_type", "pruned_heads")


@dataclass(frozen=True)
class Field:
    """One field of a configuration.

    Attributes:
        name: as the file names it.
        meaning: name of the same field in Hugging Face's VideoMAE.
        value: its value.
    """

    name: str
    meaning: str
    value: object


@dataclass(frozen=True)
class ConfigFile:
    """The configuration of a model.

    Attributes:
        shown: name of the file in messages.
        content: the JSON object, or the training arguments.
        fields: those that concern the model, defaults included.
        backbone: the backbone that the file is for; "" if it does not say.
    """

    shown: str
    content: Mapping[str, Any]
    fields: tuple[Field, ...]
    backbone: str = ""

    def value(self, meaning: str) -> object:
        """The value of a field by Hugging Face's name; None if it is missing."""
        return next((each.value for each in self.fields if each.meaning == meaning), None)


def read_json(path: Path, shown: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: the file cannot be read, or holds no JSON object.
    """
    try:
        content = json.loads(read_companion(path, shown))
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise CheckpointError(f"cannot read {shown}: it is no valid JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{shown} holds no JSON object")
    return content


def read_config(path: Path, shown: str, *, backbone: str = "videomae") -> ConfigFile:
    """The config.json of one of the backbones.

    Args:
        path: the file.
        shown: its name in messages.
        backbone: whose names a file without `model_type` has.

    Raises:
        CheckpointError: the file cannot be read, is of another model, or has a field that is not
            known; the message names it.
    """
    content = read_json(path, shown)
    known = [(name, each) for name, model in model_classes() for each in model.config_jsons]
    for name, json_ in known:
        if json_.within and isinstance(content.get(json_.within), Mapping):
            where = f"{shown} ({json_.within})"
            fields = tuple(_fields(content[json_.within], json_, where))
            return ConfigFile(shown, content, fields, name)
    types = {each.model_type: (name, each) for name, each in known if each.model_type}
    if "model_type" not in content:
        # A file without a model type was not written by transformers, so its defaults do not apply.
        of_backbone = dict(types.values())
        json_ = of_backbone.get(backbone, of_backbone["videomae"])
        return ConfigFile(shown, content, tuple(_fields(content, json_, shown)))
    model_type = content["model_type"]
    if not isinstance(model_type, str) or model_type not in types:
        allowed = f"allowed is {' or '.join(map(repr, types))}"
        raise _refused(shown, "model_type", model_type, allowed)
    backbone, json_ = types[model_type]
    content = {**json_.defaults, **content}
    return ConfigFile(shown, content, tuple(_fields(content, json_, shown)), backbone)


def training_arguments(arguments: Mapping[str, Any], shown: str) -> ConfigFile:
    """The fields of the model in the arguments of a VideoMAE training file."""
    fields = [
        Field(name, meaning, arguments[name])
        for name, meaning in {
            "input_size": "image_size",
            "tubelet_size": "tubelet_size",
            "use_mean_pooling": "use_mean_pooling",
        }.items()
        if arguments.get(name) is not None
    ]
    frames, segments = arguments.get("num_frames"), arguments.get("num_segments") or 1
    if isinstance(frames, int) and isinstance(segments, int):
        fields.append(Field("num_frames", "num_frames", frames * segments))
    return ConfigFile(f"{shown} (args)", arguments, tuple(fields))


def _fields(content: Mapping[str, Any], json_: ConfigJson, shown: str) -> Iterator[Field]:
    of_transformers = not json_.within
    names = {**(dict.fromkeys(_CLASSIFIER) if of_transformers else {}), **json_.names}
    for name, value in content.items():
        if name in json_.without_effect:
            continue
        if of_transformers and (name in _WITHOUT_EFFECT or name.startswith("_")):
            continue
        if name in json_.required:
            if value not in json_.required[name]:
                raise _refused(shown, name, value, _allowed(json_.required[name]))
        elif json_.ratio and name == json_.ratio:
            dim = next((k for k, v in json_.names.items() if v == "hidden_size"), "")
            yield Field(name, "intermediate_size", _product(value, content.get(dim)))
        elif name in names:
            # transformers writes null for what is not set.
            if value is not None or not of_transformers:
                yield Field(name, names[name] or name, value)
        elif value is not None or not of_transformers:
            allowed = "this field is not known; remove it if the model does not depend on it"
            raise _refused(shown, name, value, allowed)


def _product(value: object, other: object) -> float:
    """Their product, rounded down; NaN, which no model has, if one of them is no such number."""
    if isinstance(value, int | float) and isinstance(other, int | float):
        product = float(value) * float(other)
        return math.floor(product) if math.isfinite(product) else math.nan
    return math.nan


def configured(shape: Shape, file: ConfigFile, *, classes: int) -> Shape:
    """The shape of a model by its configuration.

    Args:
        shape: shape of the architecture that the weights belong to.
        file: the configuration.
        classes: size of the head.

    Raises:
        CheckpointError: a field contradicts the architecture or is not supported; the message names
            the field, its value and what is allowed.
    """
    if file.backbone not in ("", shape.backbone):
        raise CheckpointError(
            f"{file.shown} is that of a {file.backbone}, and the weights are a {shape.backbone}'s"
        )
    for field in file.fields:
        try:
            shape = _RULES[field.meaning](shape, field.value, classes)
        except _NotAllowed as error:
            raise _refused(file.shown, field.name, field.value, str(error)) from None
        except ValueError as error:  # the shape's own checks
            raise _refused(file.shown, field.name, field.value, str(error)) from None
    return shape


class _NotAllowed(Exception):  # noqa: N818
    """A value is not supported; the message says what is allowed."""


def _refused(shown: str, name: str, value: object, allowed: str) -> CheckpointError:
    said = repr(value)
    said = said if len(said) <= 60 else f"{said[:60]}…"
    return CheckpointError(f"{shown}: {name} is {said}; {allowed}")


def _allowed(values: tuple[object, ...]) -> str:
    return f"allowed is {' or '.join(map(repr, values))}"


_Rule = Callable[[Shape, object, int], Shape]


def _whole(value: object) -> int:
    """A whole number above 0, or a pair of equal ones, as image sizes are written."""
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _NotAllowed("allowed is a whole number above 0")
    return value


def _follow(name: str) -> _Rule:
    def rule(shape: Shape, value: object, _: int) -> Shape:
        if not hasattr(shape, name) or not isinstance(getattr(shape, name), int):
            raise _NotAllowed("the weights are a VideoSwin's, which has no such field")
        changes: dict[str, Any] = {name: _whole(value)}
        return dataclasses.replace(shape, **changes)

    return rule


def _same(name: str) -> _Rule:
    def rule(shape: Shape, value: object, _: int) -> Shape:
        own = getattr(shape, name, None)
        if own is None:
            raise _NotAllowed("the weights are a VideoSwin's, which has no such field")
        if _whole(value) != own:
            raise _NotAllowed(f"models of these weights' embed_dim and depth have {own!r}")
        return shape

    return rule


def _one_of(*values: object) -> _Rule:
    def rule(shape: Shape, value: object, _: int) -> Shape:
        if value not in values:
            raise _NotAllowed(_allowed(values))
        return shape

    return rule


def _tubelet(shape: Shape, value: object, _: int) -> Shape:
    own = [shape.tubelet_size, shape.patch_size, shape.patch_size]
    if list(value) != own if isinstance(value, list | tuple) else True:
        raise _NotAllowed(f"models of these weights' embed_dim and depth have {own}")
    return shape


def _video(shape: Shape, value: object, classes: int) -> Shape:
    """Frames, height and width, as old files of ViViT have them."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise _NotAllowed("allowed are frames, height and width")
    frames, *sides = value
    shape = _RULES["num_frames"](shape, frames, classes)
    return _RULES["image_size"](shape, sides, classes)


def _activation(shape: Shape, value: object, _: int) -> Shape:
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        raise _NotAllowed(f"allowed are {', '.join(_ACTIVATIONS)}")
    return _with_vit(shape, activation=_ACTIVATIONS[value])


def _norm_eps(shape: Shape, value: object, _: int) -> Shape:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise _NotAllowed("allowed is a number between 0 and 1")
    return _with_vit(shape, norm_eps=float(value))


def _with_vit(shape: Shape, **changes: Any) -> Shape:
    return dataclasses.replace(_vit(shape), **changes)


def _vit(shape: Shape) -> ViTConfig:
    if not isinstance(shape, ViTConfig):
        raise _NotAllowed("the weights are a VideoSwin's, which has no such field")
    return shape


def _hidden(shape: Shape, value: object, _: int) -> Shape:
    own = _vit(shape).hidden_dim
    if value != own:
        raise _NotAllowed(f"models of these weights' embed_dim and depth have {own!r}")
    return shape


def _labels(shape: Shape, value: object, classes: int) -> Shape:
    # VideoMAE V2 writes 0 where it means features without a head.
    if value not in (0, classes):
        raise _NotAllowed(f"the weights have {classes} classes")
    return shape


def _pairs(shape: Shape, value: object, _: int) -> Shape:
    """Labels are read elsewhere, where a label file may replace them."""
    return shape


_RULES: dict[str, _Rule] = {
    "image_size": _follow("image_size"),
    "num_frames": _follow("frames"),
    "num_attention_heads": _follow("num_heads"),
    "hidden_act": _activation,
    "layer_norm_eps": _norm_eps,
    "video_size": _video,
    "tubelet_shape": _tubelet,
    "patch_size": _same("patch_size"),
    "tubelet_size": _same("tubelet_size"),
    "hidden_size": _same("embed_dim"),
    "num_hidden_layers": _same("depth"),
    "intermediate_size": _hidden,
    "num_channels": _one_of(3),
    "use_mean_pooling": _one_of(True),
    "qkv_bias": _one_of(True, False),
    "qv_bias": _one_of(True, False),
    "num_labels": _labels,
    "id2label": _pairs,
    "label2id": _pairs,
    "problem_type": _one_of("single_label_classification"),
    "pruned_heads": _one_of({}),
}
