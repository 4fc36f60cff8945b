"""Loading of old .pth files (pickles) without running code.

A pickle can run code when it is loaded. torch's restricted unpickler (`weights_only=True`) builds
tensors and plain containers. VideoMAE's and other old training files also hold an
`argparse.Namespace` of settings and NumPy scalars, which are harmless and allowed here. Any other
global is refused, and the message names it. `pickle_outline` is asked first, so that a file is
refused before it makes torch allocate more memory than the file has bytes.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals

from sta.checkpoints.pickle_outline import NO_TORCH_FILE, RefusedPickle, check_outline
from sta.errors import CheckpointError

_NUMPY_SCALAR: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]

# (object, name in old files): NumPy moved its scalar constructor; old pickles have the old name.
_INERT: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    np.dtype,
    *{type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")},
    _NUMPY_SCALAR,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
]

# Older versions can be made to run code even with weights_only=True.
_SAFE_SINCE = (2, 10)

_REFUSED = re.compile(r"(?:GLOBAL|class|Unsupported global:)\s*(?:GLOBAL\s*)?`?([\w.]+)`?")


class UnsafePickle(CheckpointError):  # noqa: N818
    """A pickle needs more than tensors and plain settings, or more memory than it has bytes."""


def load_pickle(path: Path, *, shown: str | None = None) -> object:
    """Unpickles tensors and plain settings, on the CPU.

    Args:
        path: the file.
        shown: name of the file in messages; its path if not given.

    Raises:
        UnsafePickle: the file uses a global that is not allowed (the message names it, and no code
            has run), claims more memory than it has bytes, is not a torch file, or this torch is
            too old to read pickles safely.
    """
    shown = shown or str(path)
    version = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if version is None or (int(version[1]), int(version[2])) < _SAFE_SINCE:
        raise UnsafePickle(
            f"{shown} was not loaded: it is a pickle, which torch {torch.__version__} cannot read "
            f"safely; use torch {'.'.join(map(str, _SAFE_SINCE))} or newer, or a safetensors file"
        )
    try:
        check_outline(path)
        with safe_globals(_INERT):
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except RefusedPickle as error:
        raise UnsafePickle(f"{shown} was not loaded: {error}") from None
    except pickle.UnpicklingError as error:
        match = _REFUSED.search(str(error))
        what = f"it names {match[1]}, which could run code" if match else NO_TORCH_FILE
        raise UnsafePickle(f"{shown} was not loaded: {what}") from error
    except Exception as error:
        # Files of another kind can raise errors of any type in an unpickler.
        raise UnsafePickle(f"{shown} was not loaded: {NO_TORCH_FILE}") from error
    return loaded
