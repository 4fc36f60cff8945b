"""Class names: label files and what identifies a list of names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from sta.errors import CheckpointError


def labels_fingerprint(labels: tuple[str, ...]) -> str:
    """Identity of a list of class names: "sha256:" and a digest."""
    return f"sha256:{hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()}"


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names of a label file, in class order.

    One name per line; a CSV of "index,name" lines (a header may stand first); or a JSON list, an
    object from index to name, or one from name to index as Something-Something's labels.json.

    Raises:
        CheckpointError: there is no such file, it holds no labels, or its indices are not 0 to
            n - 1, so that no name would stand for another class.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        names = _from_json(text, path) if text.startswith(("[", "{")) else _from_lines(text, path)
    except OSError as error:
        raise CheckpointError(f"cannot read the labels {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"cannot read the labels {path}: it is no UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise CheckpointError(f"cannot read the labels {path}: it is no valid JSON") from error
    if not names:
        raise CheckpointError(f"{path} holds no labels")
    return names


def hugging_face_labels(config: Path) -> tuple[str, ...]:
    """Class names of a Hugging Face config.json, in class order; none where it names none.

    Raises:
        CheckpointError: the file cannot be read, or its indices are not 0 to n - 1.
    """
    try:
        by_index = json.loads(config.read_text(encoding="utf-8")).get("id2label") or {}
        return _in_class_order(by_index.items(), config)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError) as error:
        raise CheckpointError(f"cannot read the labels of {config}") from error


def _from_json(text: str, path: Path) -> tuple[str, ...]:
    loaded = json.loads(text)
    if isinstance(loaded, list):
        return tuple(str(name) for name in loaded)
    pairs = list(loaded.items())
    if not all(str(key).isdigit() for key in loaded):
        pairs = [(index, name) for name, index in pairs]
    return _in_class_order(pairs, path)


def _from_lines(text: str, path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    indexed = [re.fullmatch(r'(\d+)\s*,\s*"?(.*?)"?', line) for line in lines]
    body = [match for match in indexed if match]
    if body and len(body) >= len(lines) - 1:
        return _in_class_order(((match[1], match[2]) for match in body), path)
    return tuple(lines)


def _in_class_order(pairs: Iterable[tuple[object, object]], path: Path) -> tuple[str, ...]:
    try:
        ordered = sorted((int(str(index)), str(name)) for index, name in pairs)
    except ValueError:
        raise CheckpointError(f"{path} is no mapping between indices and names") from None
    if [index for index, _ in ordered] != list(range(len(ordered))):
        raise CheckpointError(f"the indices in {path} are not 0 to {len(ordered) - 1}, each once")
    return tuple(name for _, name in ordered)
