"""Loads a model with the weights and labels of a checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

from sta.checkpoints.label_map import read_label_map
from sta.checkpoints.labels import read_labels
from sta.checkpoints.read import read_weights
from sta.checkpoints.weights import ModelMatch, Weights, model_of_weights
from sta.errors import CheckpointError
from sta.models.architectures import check_architecture
from sta.models.base import VideoModel
from sta.models.create import model_from_config, parameter_shapes
from sta.models.label_map import LabelMap
from sta.pruning import Pruning

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


def _say(line: str) -> None:
    """Logs a line once per process."""
    if line not in _said:
        _said.add(line)
        _log.warning("%s", line)
