"""Reads the weights of a checkpoint, and what its files say of them, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sta.checkpoints import saved_metadata
from sta.checkpoints.config_files import ConfigFile, read_config, training_arguments
from sta.checkpoints.containers import FileContents, unwrap
from sta.checkpoints.digests import check_sha256, fingerprint
from sta.checkpoints.labels import class_names, hugging_face_labels
from sta.checkpoints.layouts import renamed, unwrapped
from sta.checkpoints.licenses import stated_license
from sta.checkpoints.limits import check_tensors
from sta.checkpoints.pickles import load_pickle
from sta.checkpoints.safetensors_header import check_header
from sta.checkpoints.sources import Located, WeightFile, locate
from sta.checkpoints.weights import Weights
from sta.errors import CheckpointError

_LFS_POINTER = b"version https://git-lfs"


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
    ours = saved_metadata.ARCHITECTURE in metadata
    labels, problem = _own_labels(metadata, config, shown)
    preprocessor = located.beside.preprocessor
    return Weights(
        tensors=found.tensors,
        backbone=found.backbone,
        layout="our own" if ours else found.layout.title,
        labels=labels,
        fingerprint=digest,
        origin=metadata.get(saved_metadata.ORIGIN, located.origin),
        license=metadata.get(saved_metadata.LICENSE, "")
        if ours
        else _license(metadata, located, config),
        shown=shown,
        config=config,
        preprocessor=(preprocessor, _shown(preprocessor, located)) if preprocessor else None,
        positions=found.positions,
        shape=saved_metadata.json_value(metadata, saved_metadata.SHAPE, dict, shown) or {},
        hub_id=located.hub_id,
        labels_problem=problem,
        notes=located.notes + contents.notes + bare.notes,
    )


def _fingerprint(located: Located, shown: str) -> str:
    try:
        return fingerprint([file.path for file in located.files])
    except OSError as error:
        raise CheckpointError(f"cannot read {shown}: {error.strerror}") from error


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


def _own_labels(
    metadata: Mapping[str, str], config: ConfigFile | None, shown: str
) -> tuple[tuple[str, ...], str]:
    """Class names in the checkpoint, or the reason why they cannot be used."""
    if (
        named := saved_metadata.json_value(metadata, saved_metadata.LABELS, list, shown)
    ) is not None:
        try:
            return class_names(named, f"{shown} ({saved_metadata.LABELS})"), ""
        except CheckpointError as error:
            return (), str(error)
    by_id = config.content.get("id2label") if config is not None else None
    if config is None or not by_id:
        return (), ""
    try:
        return hugging_face_labels(by_id, config.shown), ""
    except CheckpointError as error:
        return (), str(error)


def _without_biases(tensors: dict[str, Tensor]) -> None:
    """Adds zero biases for a model without biases of queries and values."""
    for name in [name for name in tensors if re.fullmatch(r"blocks\.\d+\.attn\.qkv\.weight", name)]:
        block, weight = name.removesuffix("qkv.weight"), tensors[name]
        for bias in ("q_bias", "v_bias"):
            tensors.setdefault(f"{block}{bias}", weight.new_zeros(weight.shape[-1:]))
