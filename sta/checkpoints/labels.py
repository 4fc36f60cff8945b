"""Class names of a label file or a checkpoint, checked, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sta.checkpoints.class_ids import in_class_order
from sta.checkpoints.label_json import names_of_json
from sta.checkpoints.label_lines import names_of_lines, unquoted
from sta.errors import CheckpointError
from sta.models.label_map import LabelMap

_SHOWN = 80


def labels_fingerprint(labels: tuple[str, ...], label_map: LabelMap | None = None) -> str:
    """Fingerprint of a list of class names, and of how they were mapped: "sha256:" and a digest.

    Args:
        labels: the class names.
        label_map: the label map; None for classes of the checkpoint itself.
    """
    content = json.dumps([list(labels), label_map.fingerprint] if label_map else list(labels))
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names of a label file, in class order.

    One name per line; lines with an id and a name in either order (comma, semicolon, tab or blank
    between them), with or without a header; a table whose header names the column of names; a JSON
    list of names or of objects; a JSON object from id to name or from name to id. Ids are 0 to
    n - 1. Ids from 1 to n are shifted by one, which is logged. Leading or trailing numbers after a
    blank are part of the names unless every line has one and together they are such ids.

    Raises:
        CheckpointError: the file cannot be read or is in another form, ids are missing or come
            twice, or two classes have the same name.
    """
    text = read_text(path, "labels")
    names = names_of_json(text, path) if text.startswith(("[", "{")) else names_of_lines(text, path)
    if not names:
        raise CheckpointError(f"{path} holds no labels")
    return _checked(names, path)


def read_text(path: Path, what: str) -> str:
    """The text of a file without blanks at its ends; `what` it is stands in the errors.

    Raises:
        CheckpointError: the file cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise CheckpointError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"cannot read the {what} {path}: it is no UTF-8 text") from error


def hugging_face_labels(by_id: object, config: str) -> tuple[str, ...]:
    """Class names of `id2label` in a Hugging Face config.json, in class order.

    Raises:
        CheckpointError: it is no object from id to name, its ids are not 0 to n - 1, or two
            classes have the same name.
    """
    if not isinstance(by_id, Mapping):
        raise CheckpointError(f"id2label in {config} is no object from class ids to names")
    where = f"{config} (id2label)"
    return _checked(in_class_order(list(by_id.items()), where, from_one=False), where)


def class_names(names: Sequence[object], where: object) -> tuple[str, ...]:
    """A checkpoint's list of class names.

    Raises:
        CheckpointError: one of them is no text, or has control characters.
    """
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{where} holds class names that are no text")
    return _without_controls(tuple(map(str, names)), where)


def _checked(names: tuple[str, ...], where: object) -> tuple[str, ...]:
    names = tuple(map(unquoted, names))
    if "" in names:
        raise CheckpointError(f"{where} has no name for class {names.index('')}")
    twice = [f"{name!r} ({count} times)" for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(twice[:3]) + (", …" if len(twice) > 3 else "")
        raise CheckpointError(f"{where} names classes more than once: {listed}")
    return _without_controls(names, where)


def _without_controls(names: tuple[str, ...], where: object) -> tuple[str, ...]:
    """The names, which are printed and written as they are; refuses what a terminal would obey."""
    for name in names:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", name):
            raise CheckpointError(
                f"{where} has control characters in the class name {name[:_SHOWN]!r}"
            )
    return names
