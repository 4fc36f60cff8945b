"""Saves a model to a safetensors file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from sta.checkpoints import saved_metadata
from sta.errors import CheckpointError
from sta.models.architectures import ARCHITECTURES, architecture_config
from sta.models.base import VideoModel


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
        saved_metadata.ARCHITECTURE: model.architecture,
        saved_metadata.LABELS: json.dumps(list(labels)),
        saved_metadata.ORIGIN: origin,
    }
    if differs := _differing(model):
        metadata[saved_metadata.SHAPE] = json.dumps(differs)
    metadata |= {saved_metadata.LICENSE: license} if license else {}
    metadata |= (
        {saved_metadata.SOURCE_FINGERPRINT: source_fingerprint} if source_fingerprint else {}
    )
    save_file(tensors, str(path), metadata=metadata)


def _differing(model: VideoModel) -> dict[str, object]:
    """Fields of a model's shape that differ from its architecture's."""
    own, usual = architecture_config(model.config), ARCHITECTURES.get(model.architecture)
    if usual is None:
        return {}
    usual_values = dataclasses.asdict(usual)
    return {k: v for k, v in dataclasses.asdict(own).items() if v != usual_values[k]}
