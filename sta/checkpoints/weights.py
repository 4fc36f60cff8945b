"""`Weights`, the content of a checkpoint, and the model that they belong to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, allclose

from sta.checkpoints.config_files import ConfigFile, Shape, configured
from sta.checkpoints.limits import MAX_CLIP_PIXELS
from sta.checkpoints.preprocessing import unlike_the_pipeline, with_normalization
from sta.errors import CheckpointError
from sta.models.architectures import ARCHITECTURES
from sta.models.configs import Color, SwinConfig, ViTConfig
from sta.models.vit import sincos_table

# MCG-NJU's small models on the hub: their configuration has 16 heads and their weights were trained
# with 6. The fields of the decoder and the classes tell it from a user's own small model.
_SMALL = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "decoder_hidden_size": 192,
    "decoder_num_hidden_layers": 12,
    "decoder_num_attention_heads": 3,
    "decoder_intermediate_size": 768,
}
_SMALL_HUB_ID = "MCG-NJU/videomae-small"
_SMALL_CLASSES = {
    400: ("abseiling", "zumba"),
    174: (
        "Approaching something with your camera",
        "Wiping something off of something",
    ),
}
_SMALL_HEADS = 6

# Fields that the architecture was told from, so that a file cannot state others.
_TOLD_FROM = ("backbone", "embed_dim", "depth", "depths")

# Of every field of a shape that a file states.
_LARGEST_SIZE = 4096

_OTHER_SIZES = (
    'Only the sizes of published models load: "How to add another size of a backbone" in '
    "sta/models/README.md says how to add one"
)
_ANY_SIZE = "sta.apply prunes transformers' own model of any size"

# Tolerance of position tables, which may be stored in half precision.
_POSITION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Weights:
    """The content of a checkpoint, under our parameter names.

    Attributes:
        tensors: parameters by name.
        backbone: the backbone they belong to, a key of `BACKBONES`.
        layout: title of the layout.
        labels: class names in the order of the head, empty if the checkpoint carries none.
        fingerprint: "sha256:" and the digest of the weight file; of several files, the digest of
            what `sha256sum` prints for their sorted digests, one per line.
        origin: where the weights came from, without credentials.
        license: the license and where it is stated; "" if it is not stated.
        shown: name of the checkpoint in messages.
        config: the configuration beside the weights or in their file.
        preprocessor: the configuration of the preprocessing beside the weights, and its name in
            messages.
        positions: tables of positions (..., N, d) by name, which the model rebuilds.
        shape: fields that differ from the architecture's, in a file of `save_checkpoint`.
        hub_id: the hub repository that the weights come from.
        labels_problem: why the class names that the checkpoint carries cannot be used.
        notes: what was chosen, one line each.
    """

    tensors: dict[str, Tensor]
    backbone: str
    layout: str
    labels: tuple[str, ...]
    fingerprint: str
    origin: str
    license: str
    shown: str
    config: ConfigFile | None = None
    preprocessor: tuple[Path, str] | None = None
    positions: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    shape: Mapping[str, object] = dataclasses.field(default_factory=dict)
    hub_id: str = ""
    labels_problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Size of the head."""
        return int(self.tensors["head.weight"].shape[0])


@dataclass(frozen=True)
class ModelMatch:
    """The model that weights belong to.

    Attributes:
        architecture: its name.
        shape: its shape; fields that weights do not determine may differ from the architecture's.
        notes: what was corrected, one line each.
    """

    architecture: str
    shape: Shape
    notes: tuple[str, ...] = ()


def architecture_of(weights: Weights) -> str:
    """The architecture with these shapes.

    Raises:
        CheckpointError: there is none; the message lists those there are.
    """
    known = {n: c for n, c in ARCHITECTURES.items() if c.backbone == weights.backbone}
    embed_dim = weights.tensors["patch_embed.proj.weight"].shape[0]
    swins = {n: c for n, c in known.items() if isinstance(c, SwinConfig)}
    if swins:
        return _find_swin(swins, weights.tensors, embed_dim, weights.shown)
    vits = {n: c for n, c in known.items() if isinstance(c, ViTConfig)}
    return _find_vit(vits, weights.tensors, embed_dim, weights.shown)


def model_of_weights(weights: Weights) -> ModelMatch:
    """The architecture, the shape that the configuration says, and what of it was corrected.

    Raises:
        CheckpointError: the shapes are of no known architecture, or what the configuration or the
            positions say cannot be followed.
    """
    architecture = architecture_of(weights)
    shape = _with_own_biases(ARCHITECTURES[architecture], weights)
    notes: tuple[str, ...] = ()
    if weights.config is not None:
        shape = configured(shape, weights.config, classes=weights.classes)
    if shape.backbone == "videomae" and (why := _published_small(weights)):
        assert isinstance(shape, ViTConfig)
        shape = dataclasses.replace(shape, num_heads=_SMALL_HEADS)
        notes = (
            f"{weights.shown}: takes {_SMALL_HEADS} attention heads where config.json says 16, "
            f"since {why}",
        )
    shape = _saved(shape, weights)
    _check_clip(shape, weights)
    _check_positions(weights, shape)
    shape, differs = _preprocessing(weights, shape)
    return ModelMatch(architecture, shape, notes + differs)


def _with_own_biases(shape: Shape, weights: Weights) -> Shape:
    if isinstance(shape, ViTConfig):
        has_key_bias = "blocks.0.attn.k_bias" in weights.tensors
        return dataclasses.replace(shape, key_bias=has_key_bias)
    return shape


def _published_small(weights: Weights) -> str:
    """The reason to take weights for MCG-NJU's small ones, whose config has wrong heads; or ""."""
    if weights.config is None or weights.config.value("num_attention_heads") != 16:
        return ""
    if weights.hub_id.startswith(_SMALL_HUB_ID):
        return f"{weights.hub_id} was trained with {_SMALL_HEADS}"
    content = weights.config.content
    ends = _SMALL_CLASSES.get(weights.classes)
    same = all(content.get(name) == value for name, value in _SMALL.items())
    if not same or ends is None or not weights.labels:
        return ""
    names = (weights.labels[0].casefold(), weights.labels[-1].casefold())
    if names != tuple(end.casefold() for end in ends):
        return ""
    return (
        f"it is that of MCG-NJU's small models, which were trained with {_SMALL_HEADS}. For "
        "weights of your own that were trained with 16, remove the decoder_ fields from it"
    )


def _preprocessing(weights: Weights, shape: Shape) -> tuple[Shape, tuple[str, ...]]:
    """The shape with the normalization of preprocessor_config.json, and notes.

    A file of MCG-NJU's models is not followed: they were evaluated as the pipeline does it.

    Raises:
        CheckpointError: the file asks for what the pipeline does not do.
    """
    if weights.preprocessor is None:
        return shape, ()
    followed = with_normalization(shape, *weights.preprocessor)
    differs = unlike_the_pipeline(*weights.preprocessor, shape)
    _, shown = weights.preprocessor
    normalizes = (
        f"{shown}: pixels from 0 to 1 are normalized by mean {_shown(followed.mean)} and std "
        f"{_shown(followed.std)}"
    )
    if weights.hub_id.startswith("MCG-NJU/") or _published_small(weights):
        if followed != shape:
            differs.append(f"{normalizes}; the pipeline does {_shown(shape.mean)}")
        return shape, tuple(f"{each}, as VideoMAE's authors do" for each in differs)
    if differs:
        raise CheckpointError(
            f"{differs[0]} and nothing else. If the model was trained as the pipeline does it, "
            f"remove {shown} from a local copy of the checkpoint"
        )
    return followed, (normalizes,) if followed != shape else ()


def _shown(color: Color) -> str:
    return ", ".join(f"{each:.4g}" for each in color)


def _saved(shape: Shape, weights: Weights) -> Shape:
    """The shape that `save_checkpoint` wrote into the file."""
    said = {k: tuple(v) if isinstance(v, list) else v for k, v in weights.shape.items()}
    try:
        for name, value in said.items():
            _check_field(name, value, getattr(shape, name, None))
        return dataclasses.replace(shape, **said)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{weights.shown} says a shape that cannot be: {error}") from None


def _check_field(name: str, value: object, own: object) -> None:
    """Raise ValueError for a value of another type than the architecture's, or out of bounds."""
    values = value if isinstance(value, tuple) else (value,)
    owns = own if isinstance(own, tuple) else (own,)
    if [type(each) for each in values] != [type(each) for each in owns]:
        raise ValueError(f"{name} is {value!r}, and a value such as {own!r} is needed")
    if name in _TOLD_FROM and value != own:
        raise ValueError(f"{name} is {value!r}, and the parameters are those of {own!r}")
    if name in ("mean", "std"):
        return  # the shape checks them itself
    for each in values:
        largest = 1 if isinstance(each, float) else _LARGEST_SIZE
        if isinstance(each, int | float) and type(each) is not bool and not 0 < each <= largest:
            raise ValueError(f"{name} is {value!r}; allowed are numbers from 1 to {largest:,}")


def _check_clip(shape: Shape, weights: Weights) -> None:
    """Raise CheckpointError for a clip whose tables of positions would fill the memory."""
    pixels = shape.frames * shape.image_size**2
    if pixels > MAX_CLIP_PIXELS:
        shown = weights.config.shown if weights.config is not None else weights.shown
        raise CheckpointError(
            f"{shown} says clips of {shape.frames:,} frames of {shape.image_size:,} x "
            f"{shape.image_size:,} pixels; allowed are {MAX_CLIP_PIXELS:,} pixels in all frames"
        )


def _check_positions(weights: Weights, shape: Shape) -> None:
    """Raise CheckpointError unless the positions are the fixed table that the model rebuilds."""
    if not isinstance(shape, ViTConfig):
        return
    temporal, spatial = shape.grid
    for name, table in weights.positions.items():
        if table.dim() < 2 or table.shape[-1] != shape.embed_dim:
            raise CheckpointError(
                f"{weights.shown}: {name} has shape {tuple(table.shape)} where positions have "
                f"{shape.embed_dim} columns"
            )
        found = table.float().flatten(0, -2)
        if not allclose(found, sincos_table(*found.shape), atol=_POSITION_TOLERANCE):
            raise CheckpointError(
                f"{weights.shown} has learned positions ({name}) where VideoMAE has a fixed table"
            )
        if len(found) != temporal * spatial:
            raise CheckpointError(
                f"{weights.shown} has {len(found)} positions ({name}), and {shape.frames} frames "
                f"of {shape.image_size} pixels make {temporal * spatial}. The file does not say "
                "the clip size; convert it to Hugging Face's layout, whose config.json does"
            )


def _find_vit(
    known: Mapping[str, ViTConfig], tensors: Mapping[str, Tensor], embed_dim: int, shown: str
) -> str:
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    for name, config in known.items():
        if (config.embed_dim, config.depth) == (embed_dim, depth):
            return name
    listed = ", ".join(f"{name} {c.embed_dim} x {c.depth}" for name, c in known.items())
    raise CheckpointError(
        f"{shown} has embed_dim {embed_dim} and {depth} blocks; the known models are {listed}. "
        f"{_OTHER_SIZES}, and {_ANY_SIZE}"
    )


def _find_swin(
    known: Mapping[str, SwinConfig], tensors: Mapping[str, Tensor], embed_dim: int, shown: str
) -> str:
    """Models for different windows differ only in the rows of their position-bias tables."""
    blocks = {m.groups() for n in tensors if (m := re.match(r"layers\.(\d)\.blocks\.(\d+)\.", n))}
    depths = tuple(sum(stage == str(s) for stage, _ in blocks) for s in range(4))
    table = tensors.get("layers.0.blocks.0.attn.relative_position_bias_table")
    rows = 0 if table is None else table.shape[0]
    for name, config in known.items():
        if (config.embed_dim, config.depths, _bias_rows(config)) == (embed_dim, depths, rows):
            return name
    listed = ", ".join(
        f"{name} {c.embed_dim}, {'-'.join(map(str, c.depths))}, {_bias_rows(c)}"
        for name, c in known.items()
    )
    raise CheckpointError(
        f"{shown} has embed_dim {embed_dim}, {'-'.join(map(str, depths))} blocks and {rows} rows "
        f"of position biases; the known models are {listed}. {_OTHER_SIZES}"
    )


def _bias_rows(config: SwinConfig) -> int:
    time, height, width = config.window_size
    return (2 * time - 1) * (2 * height - 1) * (2 * width - 1)
