"""Loads a model with weights and labels from a source, and saves a model to a file."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sta.checkpoints.config_files import ConfigFile, read_config, training_arguments
from sta.checkpoints.containers import FileContents, unwrap
from sta.checkpoints.digests import check_sha256, fingerprint
from sta.checkpoints.label_map import read_label_map
from sta.checkpoints.labels import class_names, hugging_face_labels, read_labels
from sta.checkpoints.layouts import renamed, unwrapped
from sta.checkpoints.licenses import stated_license
from sta.checkpoints.limits import check_tensors
from sta.checkpoints.pickles import load_pickle
from sta.checkpoints.safetensors_header import check_header
from sta.checkpoints.sources import Located, WeightFile, locate
from sta.checkpoints.weights import ModelMatch, Weights, model_of_weights
from sta.errors import CheckpointError
from sta.models.architectures import ARCHITECTURES, architecture_config, check_architecture
from sta.models.base import VideoModel
from sta.models.create import model_from_config, parameter_shapes
from sta.models.label_map import LabelMap
from sta.pruning import Pruning

_OURS = "sta.architecture"
_SHAPE = "sta.shape"
_LABELS = "sta.labels"
_ORIGIN = "sta.origin"
_LICENSE = "sta.license"
_SOURCE = "sta.source_fingerprint"
_LFS_POINTER = b"version https://git-lfs"

_log = logging.getLogger(__name__)
_said: set[str] = set()


def load_model(
    source: str | Path,
    *,
    pruning: Pruning | None = None,
    architecture: str | None = None,
    labels: Path | None = None,
    label_map: Path | LabelMap | None = None,
    sha256: str | None = None,
    patient: bool = False,
) -> VideoModel:
    """A model with the weights of a checkpoint, in evaluation mode and float32.

    The layout is recognized by parameter names: VideoMAE's own (.pth, also those of VideoMAE V2),
    Hugging Face's VideoMAE, V-JEPA 2 and ViViT (safetensors or .bin, whole or sharded),
    VideoSwin's own, mmaction2's of VideoMAE and VideoSwin, torchvision's swin3d, or a file that
    `save_checkpoint` wrote; each also with the prefixes and dictionaries of trainers. Every field
    of a config.json beside the weights is followed or refused. Choices, corrections and a stated
    license are logged once.

    Args:
        source: a file, a directory in Hugging Face's layout, a hub id "owner/name[@revision]",
            s3://bucket/key, an https:// address, or "demo" for the demo model that comes
            with this package.
        pruning: None or r = 0 for the unpruned model.
        architecture: expected architecture; found by the shapes if not given.
        labels: file with class names in a form that `read_labels` knows; replaces the checkpoint's
            own.
        label_map: the labels that the checkpoint's classes stand for, or a file with them in a form
            that `read_label_map` knows; classes without a label are dropped from the head.
        sha256: expected SHA-256 of the weights; other weights are refused before any of them is
            parsed. Of sharded weights it is that of `fingerprint` in `sta.checkpoints.digests`;
            the files beside the weights are not part of it.
        patient: whether to keep retrying if a server cannot be reached, as a job that has started
            should. Otherwise this is an error within ten seconds.

    Raises:
        CheckpointError: no such checkpoint, an unknown layout, shapes that do not fit, a
            configuration that is not supported, or labels that do not match the head.
        UnsafePickle: a pickle that holds more than tensors.
        ValueError: the pruning does not fit the architecture.
    """
    weights = read_weights(source, sha256=sha256, patient=patient)
    model = build_model(
        weights, pruning=pruning, architecture=architecture, labels=labels, label_map=label_map
    )
    if weights.license:
        _say(f"{weights.shown}: license {weights.license}")
    return model


def build_model(
    weights: Weights,
    *,
    pruning: Pruning | None = None,
    architecture: str | None = None,
    labels: Path | None = None,
    label_map: Path | LabelMap | None = None,
) -> VideoModel:
    """The model of weights that `read_weights` returned; see `load_model`."""
    if architecture is not None:
        check_architecture(architecture)
    found = model_of_weights(weights)
    if architecture is not None and architecture != found.architecture:
        raise CheckpointError(
            f"{weights.shown} holds the shapes of {found.architecture}, not of {architecture}"
        )
    _check_fits(found, weights)
    mapped = None if label_map is None else _label_map(label_map, labels, weights)
    names = _labels(labels, weights) if mapped is None else mapped.labels
    classes = weights.classes if mapped is None else len(mapped.rows)
    model = model_from_config(found.shape, found.architecture, num_classes=classes, pruning=pruning)
    own = model.state_dict()
    for name, tensor in weights.tensors.items():
        in_head = name in ("head.weight", "head.bias")
        own[name].copy_(tensor[list(mapped.rows)] if mapped and in_head else tensor)
    model.labels = names
    model.fingerprint = weights.fingerprint
    model.license = weights.license
    model.notes = weights.notes + found.notes
    if mapped is not None:
        model.follow(mapped)
        model.notes += (_mapped_note(mapped, weights),)
    for line in model.notes:
        _say(line)
    return model


def _say(line: str) -> None:
    """Logs a line once per process."""
    if line not in _said:
        _said.add(line)
        _log.warning("%s", line)


def save_checkpoint(
    model: VideoModel,
    path: Path,
    *,
    labels: list[str] | tuple[str, ...],
    origin: str,
    dtype: torch.dtype = torch.float32,
    license: str = "",
    source_fingerprint: str = "",
) -> None:
    """Writes a model as safetensors with its shape, labels and origin in the metadata.

    Args:
        model: the model.
        path: the file; replaced if it exists.
        labels: class names in the order of the head.
        origin: where the weights came from.
        dtype: of the parameters in the file.
        license: of the weights; "" for weights trained with this package.
        source_fingerprint: of the checkpoint that the weights were read from, if they were.

    Raises:
        CheckpointError: the number of labels is not that of the head.
    """
    if len(model.labels) != model.head.out_features:
        raise CheckpointError(
            f"the label map sums {model.head.out_features} classes to {len(model.labels)} labels, "
            "which a checkpoint cannot hold; map one to one, or give the map where it is loaded"
        )
    if len(labels) != model.head.out_features:
        raise CheckpointError(
            f"the head has {model.head.out_features} classes and {len(labels)} labels were given"
        )
    tensors = {name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}
    metadata = {
        "format": "pt",
        _OURS: model.architecture,
        _LABELS: json.dumps(list(labels)),
        _ORIGIN: origin,
    }
    if differs := _differing(model):
        metadata[_SHAPE] = json.dumps(differs)
    metadata |= {_LICENSE: license} if license else {}
    metadata |= {_SOURCE: source_fingerprint} if source_fingerprint else {}
    save_file(tensors, str(path), metadata=metadata)


def _differing(model: VideoModel) -> dict[str, object]:
    """Fields of a model's shape that differ from its architecture's."""
    own, usual = architecture_config(model.config), ARCHITECTURES.get(model.architecture)
    if usual is None:
        return {}
    usual_values = dataclasses.asdict(usual)
    return {k: v for k, v in dataclasses.asdict(own).items() if v != usual_values[k]}


def read_weights(
    source: str | Path, *, sha256: str | None = None, patient: bool = False
) -> Weights:
    """The content of a checkpoint, under our names; see `load_model` for sources and errors."""
    located = locate(str(source), patient=patient)
    shown = located.files[0].shown if len(located.files) == 1 else located.origin
    digest = _fingerprint(located, shown)
    if sha256 is not None:
        check_sha256(digest, sha256, shown)
    metadata: dict[str, str] = {}
    contents = FileContents({})
    for file in located.files:
        read, own = _read_file(file)
        if twice := sorted(contents.tensors.keys() & read.tensors.keys()):
            raise CheckpointError(f"{shown} holds {twice[0]} in two of its files")
        contents = FileContents(
            contents.tensors | read.tensors,
            contents.arguments or read.arguments,
            contents.notes + read.notes,
        )
        metadata |= own
    bare = unwrapped(contents.tensors, shown)
    found = renamed(bare, shown)
    config = _config(located, contents, shown, found.backbone)
    if config is not None and False in (config.value("qv_bias"), config.value("qkv_bias")):
        _without_biases(found.tensors)
    ours = _OURS in metadata
    labels, problem = _own_labels(metadata, config, shown)
    preprocessor = located.beside.preprocessor
    return Weights(
        tensors=found.tensors,
        backbone=found.backbone,
        layout="our own" if ours else found.layout.title,
        labels=labels,
        fingerprint=digest,
        origin=metadata.get(_ORIGIN, located.origin),
        license=metadata.get(_LICENSE, "") if ours else _license(metadata, located, config),
        shown=shown,
        config=config,
        preprocessor=(preprocessor, _shown(preprocessor, located)) if preprocessor else None,
        positions=found.positions,
        shape=_json_of(metadata, _SHAPE, dict, shown) or {},
        hub_id=located.hub_id,
        labels_problem=problem,
        notes=located.notes + contents.notes + bare.notes,
    )


def _fingerprint(located: Located, shown: str) -> str:
    try:
        return fingerprint([file.path for file in located.files])
    except OSError as error:
        raise CheckpointError(f"cannot read {shown}: {error.strerror}") from error


_Json = TypeVar("_Json", dict[str, Any], list[Any])


def _json_of(metadata: Mapping[str, str], key: str, kind: type[_Json], shown: str) -> _Json | None:
    """What `save_checkpoint` wrote under a key of the metadata; None if the key is missing."""
    if key not in metadata:
        return None
    try:
        content = json.loads(metadata[key])
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, kind):
        raise CheckpointError(f"{shown}: {key} in its metadata is not what save_checkpoint writes")
    return content


def _shown(path: Path, located: Located) -> str:
    return f"{located.origin}/{path.name}" if located.hub_id else str(path)


def _config(
    located: Located, contents: FileContents, shown: str, backbone: str
) -> ConfigFile | None:
    """The configuration beside the weights or in their file."""
    path = located.beside.config
    if path is not None:
        return read_config(path, _shown(path, located), backbone=backbone)
    return training_arguments(contents.arguments, shown) if contents.arguments else None


def _license(metadata: Mapping[str, str], located: Located, config: ConfigFile | None) -> str:
    return stated_license(
        metadata,
        card=located.beside.card,
        config=config.content if config is not None and located.beside.config else None,
        hub_id=located.hub_id,
    )


def _without_biases(tensors: dict[str, Tensor]) -> None:
    """Adds zero biases for a model without biases of queries and values."""
    for name in [name for name in tensors if re.fullmatch(r"blocks\.\d+\.attn\.qkv\.weight", name)]:
        block, weight = name.removesuffix("qkv.weight"), tensors[name]
        for bias in ("q_bias", "v_bias"):
            tensors.setdefault(f"{block}{bias}", weight.new_zeros(weight.shape[-1:]))


def _read_file(file: WeightFile) -> tuple[FileContents, dict[str, str]]:
    """FileContents and metadata of one file under its own names."""
    try:
        with file.path.open("rb") as start:
            if start.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise CheckpointError(
                    f"{file.shown} is a Git LFS pointer in place of the weights; run git lfs pull"
                )
        if not _is_safetensors(file.path):
            contents = unwrap(load_pickle(file.path, shown=file.shown), file.shown)
            metadata: dict[str, str] = {}
        else:
            check_header(file.path, file.shown)
            with safe_open(str(file.path), framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
                contents, metadata = FileContents(tensors), opened.metadata() or {}
        check_tensors(contents.tensors, file.path.stat().st_size, file.shown)
        return contents, metadata
    except SafetensorError as error:
        said = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{file.shown} is no whole safetensors file: {said}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {file.shown}: {error.strerror}") from error


def _is_safetensors(path: Path) -> bool:
    """By content: an 8-byte header length, then JSON. Names can be wrong."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27


def _check_fits(found: ModelMatch, weights: Weights) -> None:
    """Raise CheckpointError unless the tensors are those of the model, which is not built yet."""
    own = parameter_shapes(found.shape, num_classes=weights.classes)
    tensors, shown = weights.tensors, weights.shown
    missing = sorted(own.keys() - tensors.keys())
    surplus = sorted(tensors.keys() - own.keys())
    if missing or surplus:
        said = [f"lacks {', '.join(missing[:3])}"] if missing else []
        said += [f"has {', '.join(surplus[:3])} besides"] if surplus else []
        raise CheckpointError(f"{shown} {' and '.join(said)}: not a {found.architecture}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name]:
            raise CheckpointError(
                f"{shown}: {name} has shape {tuple(tensor.shape)} where {found.architecture} "
                f"has {own[name]}"
            )
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{shown}: {name} has dtype {tensor.dtype}; allowed are floating-point numbers"
            )


def _own_labels(
    metadata: Mapping[str, str], config: ConfigFile | None, shown: str
) -> tuple[tuple[str, ...], str]:
    """Class names in the checkpoint, or the reason why they cannot be used."""
    if (named := _json_of(metadata, _LABELS, list, shown)) is not None:
        try:
            return class_names(named, f"{shown} ({_LABELS})"), ""
        except CheckpointError as error:
            return (), str(error)
    by_id = config.content.get("id2label") if config is not None else None
    if config is None or not by_id:
        return (), ""
    try:
        return hugging_face_labels(by_id, config.shown), ""
    except CheckpointError as error:
        return (), str(error)


def _label_map(given: Path | LabelMap, labels: Path | None, weights: Weights) -> LabelMap:
    """The label map, of a file with the names of the label file, else the checkpoint's."""
    if isinstance(given, LabelMap):
        if given.classes != weights.classes:
            raise CheckpointError(
                f"{weights.shown} has {weights.classes} classes and the label map is for "
                f"{given.classes}"
            )
        return given
    if labels is not None:
        names = read_labels(labels)
    else:
        names = weights.labels if len(weights.labels) == weights.classes else ()
    return read_label_map(given, names, weights.classes)


def _mapped_note(mapped: LabelMap, weights: Weights) -> str:
    return (
        f"{weights.shown}: {len(mapped.rows)} of its {mapped.classes} classes have one of "
        f"{len(mapped.labels)} labels; the others are dropped"
    )


def _labels(path: Path | None, weights: Weights) -> tuple[str, ...]:
    """Class names: the label file's, else the checkpoint's, else the class indices."""
    classes, own = weights.classes, weights.labels
    if path is not None:
        names = read_labels(path)
        if len(names) != classes:
            raise CheckpointError(
                f"{path} names {len(names)} labels and the checkpoint has {classes} classes"
            )
        return names
    if weights.labels_problem:
        raise CheckpointError(f"{weights.labels_problem}; a label file can name the classes")
    if own and len(own) != classes:
        where = weights.config.shown if weights.config is not None else weights.shown
        raise CheckpointError(
            f"{where} names {len(own)} classes (id2label) and the weights have {classes}; a label "
            "file can name them"
        )
    return own or tuple(str(index) for index in range(classes))
