"""The parameters inside an unpickled .pth file, under any of the usual keys."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sta.errors import CheckpointError

# DeepSpeed and VideoMAE, torchvision and timm, Lightning and MMEngine, SlowFast.
_PLAIN = ("module", "model", "state_dict", "model_state", "model_state_dict")

# Moving averages: timm, VideoMAE and torchvision, hooks of MMEngine's users, others.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")

_DEEPEST = 4
_NUMBERS = (int, float, type(None))


@dataclass(frozen=True)
class FileContents:
    """What a file holds.

    Attributes:
        tensors: parameters by name, as the file names them.
        arguments: training arguments, if the file has them.
        notes: which of several sets of weights was taken, one line each.
    """

    tensors: dict[str, Tensor]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def unwrap(loaded: object, shown: str) -> FileContents:
    """The parameters of a file; the moving average where the file has both.

    Args:
        loaded: the unpickled content.
        shown: name of the file in messages.

    Raises:
        CheckpointError: the file has no dictionary of tensors, or several of which any could be the
            model.
    """
    notes: list[str] = []
    arguments: Mapping[str, Any] = {}
    depth = 0
    while not _is_state(loaded):
        depth += 1
        # A dictionary in a pickle can contain itself.
        if not isinstance(loaded, Mapping) or depth > _DEEPEST:
            raise CheckpointError(f"{shown} holds no dictionary of tensors")
        arguments = arguments or _arguments(loaded.get("args"))
        key, note = _chosen(loaded, shown)
        notes += [note] if note else []
        loaded = loaded[key]
    assert isinstance(loaded, Mapping)
    tensors = {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
    return FileContents(tensors, arguments, tuple(notes))


def _chosen(loaded: Mapping[str, Any], shown: str) -> tuple[str, str]:
    """The key of the weights, and a note on the choice (may be empty)."""
    plain, averaged = (
        [key for key in keys if _contains_state(loaded.get(key))] for keys in (_PLAIN, _AVERAGED)
    )
    if averaged and plain and averaged[0] == "ema_state_dict" and _of_mmengine(loaded):
        # MMEngine's hook exchanges the two when it saves: the average is under the usual key.
        return plain[0], (
            f"{shown}: loads the moving average (EMA) of the weights, which MMEngine keeps under "
            f"{plain[0]}, and not the last weights, which it keeps under ema_state_dict"
        )
    keys = averaged or plain
    if not keys:
        raise CheckpointError(f"{shown} holds no dictionary of tensors")
    if len(keys) > 1:
        raise CheckpointError(
            f"{shown} holds weights under {' and '.join(keys)} and does not say which are the "
            "model; save one of them alone"
        )
    if averaged and plain:
        return keys[0], (
            f"{shown}: loads the moving average (EMA) of the weights, {keys[0]}, and not {plain[0]}"
        )
    unread = [
        key for key in _AVERAGED if isinstance(held := loaded.get(key), Mapping | list) and held
    ]
    if unread and not averaged:
        return keys[0], f"{shown}: loads {keys[0]}; {unread[0]} is in a form that is not known"
    return keys[0], ""


def _of_mmengine(loaded: Mapping[str, Any]) -> bool:
    meta = loaded.get("meta")
    return isinstance(meta, Mapping) and "mmengine_version" in meta


def _contains_state(value: object, depth: int = 0) -> bool:
    """Whether a value contains parameters, directly or nested."""
    if _is_state(value):
        return True
    return (
        depth < _DEEPEST
        and isinstance(value, Mapping)
        and any(_contains_state(value.get(key), depth + 1) for key in (*_PLAIN, *_AVERAGED))
    )


def _is_state(value: object) -> bool:
    """Whether a value maps names to tensors; numbers may stand beside them."""
    return (
        isinstance(value, Mapping)
        and any(isinstance(each, Tensor) for each in value.values())
        and all(isinstance(name, str) for name in value)
        and all(isinstance(each, (Tensor, *_NUMBERS)) for each in value.values())
    )


def _arguments(args: object) -> Mapping[str, Any]:
    if isinstance(args, argparse.Namespace):
        return vars(args)
    return args if isinstance(args, Mapping) else {}
