"""Checkpoints: from a source to a model with its weights and labels, and back to a file."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sta.architectures import ARCHITECTURES, create_model
from sta.errors import CheckpointError as CheckpointError
from sta.labels import hugging_face_labels
from sta.labels import labels_fingerprint as labels_fingerprint
from sta.labels import read_labels as read_labels
from sta.layouts import VIDEOMAE_LICENCE, Family, to_our_names
from sta.model import VideoModel
from sta.pickles import load_pickle
from sta.pruning import Pruning
from sta.sources import DEMO_CHECKPOINT as DEMO_CHECKPOINT
from sta.sources import WeightFile, locate
from sta.swin import SwinConfig
from sta.vit import ViTConfig, sincos_table

_OURS = "sta.architecture"
_LABELS = "sta.labels"
_ORIGIN = "sta.origin"
_LICENCE = "sta.licence"
_SOURCE = "sta.source_fingerprint"
_LFS_POINTER = b"version https://git-lfs"

_log = logging.getLogger(__name__)
_licences_shown: set[str] = set()


@dataclass(frozen=True)
class Weights:
    """What a checkpoint holds, under our names.

    Attributes:
        tensors: parameters by name.
        family: the backbone they belong to.
        layout: what kind of checkpoint it was.
        labels: class names in the order of the head, empty if the checkpoint carries none.
        fingerprint: "sha256:" and the digest of the weight file; of several files, the digest of
            what `sha256sum` prints for their sorted digests, one per line.
        origin: where the weights came from, without credentials.
        licence: of the published weights in this layout; "" for weights made by this package.
        shown: what messages call the checkpoint.
    """

    tensors: dict[str, Tensor]
    family: Family
    layout: str
    labels: tuple[str, ...]
    fingerprint: str
    origin: str
    licence: str
    shown: str


def load_model(
    source: str | Path,
    *,
    pruning: Pruning | None = None,
    architecture: str | None = None,
    labels: Path | None = None,
) -> VideoModel:
    """A model with the weights of a checkpoint, in evaluation mode and float32.

    The layout is told from the parameter names: VideoMAE's own (.pth, also those of VideoMAE V2),
    Hugging Face's VideoMAE (safetensors or .bin, whole or sharded), VideoSwin's own, mmaction2's
    of either, torchvision's swin3d, or a file that `save_checkpoint` wrote. The licence of weights
    that may not be used commercially is logged once.

    Args:
        source: a file, a directory in Hugging Face's layout, a hub id "owner/name[@revision]",
            s3://bucket/key, an https:// address, or "demo" for the demonstration model that comes
            with this package.
        pruning: None or r = 0 for the unpruned model.
        architecture: expected architecture; told from the shapes if not given.
        labels: file with class names, one per line, CSV or JSON; replaces the checkpoint's own.

    Raises:
        CheckpointError: no such checkpoint, a layout that is not known, shapes that do not fit, or
            labels that do not match the head.
        UnsafePickle: a pickle that holds more than tensors.
        ValueError: the pruning does not fit the architecture.
    """
    weights = read_weights(source)
    if weights.licence == VIDEOMAE_LICENCE and weights.origin not in _licences_shown:
        _licences_shown.add(weights.origin)
        _log.warning("%s: licence %s", weights.shown, weights.licence)
    return build_model(weights, pruning=pruning, architecture=architecture, labels=labels)


def build_model(
    weights: Weights,
    *,
    pruning: Pruning | None = None,
    architecture: str | None = None,
    labels: Path | None = None,
) -> VideoModel:
    """The model of weights that have been read; see `load_model`."""
    found = architecture_of(weights)
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {architecture!r}; there are {', '.join(sorted(ARCHITECTURES))}"
        )
    if architecture is not None and architecture != found:
        raise CheckpointError(f"{weights.shown} holds the shapes of {found}, not of {architecture}")
    num_classes = weights.tensors["head.weight"].shape[0]
    names = _labels(labels, weights.labels, num_classes)
    model = create_model(found, num_classes=num_classes, pruning=pruning)
    _assign(model, weights.tensors, weights.shown)
    model.labels = names
    model.fingerprint = weights.fingerprint
    return model.eval()


def save_checkpoint(
    model: VideoModel,
    path: Path,
    *,
    labels: list[str] | tuple[str, ...],
    origin: str,
    dtype: torch.dtype = torch.float32,
    licence: str = "",
    source_fingerprint: str = "",
) -> None:
    """Writes a model as safetensors with its architecture, labels and origin in the metadata.

    Args:
        model: the model.
        path: the file, replaced if it is there.
        labels: class names in the order of the head.
        origin: where the weights came from.
        dtype: of the parameters in the file.
        licence: of the weights, "" for those made by this package.
        source_fingerprint: of the checkpoint that the weights were read from, if they were.

    Raises:
        CheckpointError: the number of labels is not that of the head.
    """
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
    metadata |= {_LICENCE: licence} if licence else {}
    metadata |= {_SOURCE: source_fingerprint} if source_fingerprint else {}
    save_file(tensors, str(path), metadata=metadata)


def read_weights(source: str | Path) -> Weights:
    """What a checkpoint holds, under our names; see `load_model` for sources and errors."""
    located = locate(str(source))
    shown = located.files[0].shown if len(located.files) == 1 else located.origin
    metadata: dict[str, str] = {}
    raw: dict[str, Tensor] = {}
    for file in located.files:
        tensors, own = _read_file(file)
        if twice := sorted(raw.keys() & tensors.keys()):
            raise CheckpointError(f"{shown} holds {twice[0]} in two of its files")
        raw |= tensors
        metadata |= own
    layout, renamed = to_our_names(raw, shown)
    _refuse_learned_positions(raw, shown)
    ours = _OURS in metadata
    return Weights(
        tensors=renamed,
        family=layout.family,
        layout="our own" if ours else layout.title,
        labels=_own_labels(metadata, located.config),
        fingerprint=_fingerprint([file.path for file in located.files]),
        origin=metadata.get(_ORIGIN, located.origin),
        licence=metadata.get(_LICENCE, "") if ours else layout.licence,
        shown=shown,
    )


def _read_file(file: WeightFile) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of one file under its own names."""
    try:
        with file.path.open("rb") as start:
            if start.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise CheckpointError(
                    f"{file.shown} is a Git LFS pointer in place of the weights; run git lfs pull"
                )
        if not _is_safetensors(file.path):
            return _state_dict(load_pickle(file.path, shown=file.shown), file.shown), {}
        with safe_open(str(file.path), framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return tensors, opened.metadata() or {}
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


def _fingerprint(paths: list[Path]) -> str:
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) > 1:
        joined = "".join(f"{digest}\n" for digest in sorted(digests))
        digests = [hashlib.sha256(joined.encode()).hexdigest()]
    return f"sha256:{digests[0]}"


def _state_dict(loaded: object, shown: str) -> dict[str, Tensor]:
    """The parameters inside what a .pth file unpickles to."""
    for key in ("module", "model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError(f"{shown} holds no dictionary of tensors")
    return dict(loaded)


def _refuse_learned_positions(raw: Mapping[str, Tensor], shown: str) -> None:
    """Positions are rebuilt and not read, which is right only where they are the fixed table."""
    for name in ("pos_embed", "backbone.pos_embed", "videomae.embeddings.position_embeddings"):
        if name not in raw:
            continue
        found = raw[name].float().flatten(0, -2)
        # The tolerance is that of half precision.
        if not torch.allclose(found, sincos_table(*found.shape), atol=1e-2):
            raise CheckpointError(
                f"{shown} has learned positions ({name}) where VideoMAE has a fixed table"
            )


def architecture_of(weights: Weights) -> str:
    """The architecture with these shapes.

    The number of heads is taken from the architecture: Hugging Face's configurations of the small
    models name 16 heads where the weights were trained with 6.
    """
    find = _find_vit if weights.family == "vit" else _find_swin
    width = weights.tensors["patch_embed.proj.weight"].shape[0]
    return find(weights.tensors, width, weights.shown)


def _find_vit(tensors: Mapping[str, Tensor], width: int, shown: str) -> str:
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    known = {n: c for n, c in ARCHITECTURES.items() if isinstance(c, ViTConfig)}
    for name, config in known.items():
        if (config.width, config.depth) == (width, depth):
            return name
    listed = ", ".join(f"{name} {c.width} x {c.depth}" for name, c in known.items())
    raise CheckpointError(
        f"{shown} has width {width} and {depth} blocks, which is no known model ({listed})"
    )


def _find_swin(tensors: Mapping[str, Tensor], width: int, shown: str) -> str:
    """Models for other windows differ in the rows of their tables of position biases alone."""
    blocks = {m.groups() for n in tensors if (m := re.match(r"layers\.(\d)\.blocks\.(\d+)\.", n))}
    depths = tuple(sum(stage == str(s) for stage, _ in blocks) for s in range(4))
    table = tensors.get("layers.0.blocks.0.attn.relative_position_bias_table")
    rows = 0 if table is None else table.shape[0]
    known = {n: c for n, c in ARCHITECTURES.items() if isinstance(c, SwinConfig)}
    for name, config in known.items():
        if (config.width, config.depths, _bias_rows(config)) == (width, depths, rows):
            return name
    listed = ", ".join(
        f"{name} {c.width}, {'-'.join(map(str, c.depths))}, {_bias_rows(c)}"
        for name, c in known.items()
    )
    raise CheckpointError(
        f"{shown} has width {width}, {'-'.join(map(str, depths))} blocks and {rows} position "
        f"biases, which is no known model ({listed})"
    )


def _bias_rows(config: SwinConfig) -> int:
    time, height, width = config.window
    return (2 * time - 1) * (2 * height - 1) * (2 * width - 1)


def _assign(model: VideoModel, tensors: Mapping[str, Tensor], shown: str) -> None:
    """Copies the tensors into the model, all of them and nothing else."""
    own = model.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    surplus = sorted(tensors.keys() - own.keys())
    if missing or surplus:
        said = [f"lacks {', '.join(missing[:3])}"] if missing else []
        said += [f"has {', '.join(surplus[:3])} besides"] if surplus else []
        raise CheckpointError(f"{shown} {' and '.join(said)}: not a {model.architecture}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{shown}: {name} has shape {tuple(tensor.shape)} where {model.architecture} "
                f"has {tuple(own[name].shape)}"
            )
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})


def _own_labels(metadata: Mapping[str, str], config: Path | None) -> tuple[str, ...]:
    if _LABELS in metadata:
        return tuple(json.loads(metadata[_LABELS]))
    return hugging_face_labels(config) if config is not None else ()


def _labels(path: Path | None, own: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """Class names: the label file's, else the checkpoint's, else the class indices."""
    if path is None:
        return own if len(own) == num_classes else tuple(str(i) for i in range(num_classes))
    names = read_labels(path)
    if len(names) != num_classes:
        raise CheckpointError(
            f"{path} names {len(names)} labels and the checkpoint has {num_classes} classes"
        )
    return names
