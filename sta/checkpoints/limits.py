"""Limits on what a checkpoint may claim, checked before anything is allocated for it.

No limit is near what published checkpoints have. They keep the memory that loading takes near the
size of the file and of the model, whatever a file says about itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sta.errors import CheckpointError

# The largest training file of a supported model (ViT-H with its optimizer) has 8 GB.
MAX_DOWNLOAD_BYTES = 20 * 10**9

# config.json and the other files beside the weights, and the header of a safetensors file.
MAX_JSON_BYTES = 4 * 2**20

# A training file of ViT-H has 1,600 tensors and some 100,000 pickle opcodes.
MAX_TENSORS = 50_000
MAX_OPCODES = 1_000_000

MAX_SHARDS = 1000

# Frames x height x width: 20 times VideoMAE's clip. Tables of positions grow with it.
MAX_CLIP_PIXELS = 2**24

# Tensors may share bytes of the file, but not many times.
_SHARED = 2


def read_companion(path: Path, shown: str) -> str:
    """The text of a small file beside the weights.

    Raises:
        CheckpointError: the file cannot be read, is larger than such files are, or is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {shown}: {error.strerror}") from error
    if len(content) > MAX_JSON_BYTES:
        raise CheckpointError(f"{shown} has more than {MAX_JSON_BYTES:,} bytes, which is the limit")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"cannot read {shown}: it is no UTF-8 text") from error


def check_tensors(tensors: Mapping[str, Tensor], file_bytes: int, shown: str) -> None:
    """Raise CheckpointError for tensors that claim more elements than the file has bytes for."""
    if len(tensors) > MAX_TENSORS:
        raise CheckpointError(f"{shown} has {len(tensors):,} tensors; allowed are {MAX_TENSORS:,}")
    total = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise CheckpointError(f"{shown}: {name} is no dense tensor; convert it with to_dense()")
        shape = tuple(tensor.shape)
        if 0 in shape:
            raise CheckpointError(f"{shown}: {name} has shape {shape} and no elements")
        claimed = tensor.numel() * tensor.element_size()
        stored = tensor.untyped_storage().nbytes()
        if claimed > stored:
            raise CheckpointError(
                f"{shown}: {name} has shape {shape}, which needs {claimed:,} bytes, and the file "
                f"has {stored:,} bytes for it"
            )
        total += claimed
    if total > _SHARED * file_bytes:
        raise CheckpointError(
            f"{shown}: its tensors need {total:,} bytes and the file has {file_bytes:,}; many of "
            "them share the same bytes"
        )
