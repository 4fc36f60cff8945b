"""Metadata of the safetensors files that `save_checkpoint` writes: its keys and their values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from sta.errors import CheckpointError

ARCHITECTURE = "sta.architecture"
SHAPE = "sta.shape"
LABELS = "sta.labels"
ORIGIN = "sta.origin"
LICENSE = "sta.license"
SOURCE_FINGERPRINT = "sta.source_fingerprint"

_Json = TypeVar("_Json", dict[str, Any], list[Any])


def json_value(
    metadata: Mapping[str, str], key: str, kind: type[_Json], shown: str
) -> _Json | None:
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
