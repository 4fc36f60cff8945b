"""Label files of JSON: lists of names, pairs or objects, and objects between ids and names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sta.checkpoints.class_ids import class_id, first_id, in_class_order
from sta.checkpoints.label_columns import ID_WORDS, NAME_WORDS, names_of_columns, unknown_form
from sta.errors import CheckpointError

# Keys under which a JSON file holds its class names and other things.
_SECTIONS = ("id2label", "labels", "classes", "categories", "names")


def names_of_json(text: str, path: Path) -> tuple[str, ...]:
    """Names in a JSON list or object, in class order.

    Raises:
        CheckpointError: the text is no JSON or in no known form, or its ids are not 0 to n - 1 or
            1 to n.
    """
    try:
        loaded = json.loads(text, object_pairs_hook=lambda pairs: _no_twin(pairs, path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"cannot read the labels {path}: it is no valid JSON") from error
    if isinstance(loaded, Mapping):
        sections = [loaded[key] for key in _SECTIONS if isinstance(loaded.get(key), Mapping | list)]
        if len(sections) == 1:
            loaded = sections[0]
    if not loaded:
        return ()
    first = _first_item(loaded)
    if isinstance(loaded, Mapping):
        return _from_mapping(loaded, path, first)
    if all(isinstance(each, str) for each in loaded):
        return tuple(loaded)
    if all(isinstance(each, Mapping) for each in loaded):
        return _from_objects(loaded, path, first)
    if all(isinstance(each, list) and len(each) == 2 for each in loaded):
        return names_of_columns([[*map(str, row)] for row in loaded], path, first)
    raise unknown_form(path, first)


def _first_item(loaded: Mapping[str, object] | list[object]) -> str:
    first: object = loaded[0] if isinstance(loaded, list) else dict([next(iter(loaded.items()))])
    return json.dumps(first, ensure_ascii=False)


def _no_twin(pairs: list[tuple[str, object]], path: Path) -> dict[str, object]:
    keys = Counter(key for key, _ in pairs)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise CheckpointError(f"{path} names {twice[0]!r} more than once")
    return dict(pairs)


def _from_mapping(loaded: Mapping[str, object], path: Path, first: str) -> tuple[str, ...]:
    by_id = [(key, value) for key, value in loaded.items() if isinstance(value, str)]
    by_name = [(value, key) for key, value in loaded.items()]
    ids = first_id([class_id(key) for key in loaded]) is not None
    values = first_id([class_id(value) for value in loaded.values()]) is not None
    if ids and values and in_class_order(by_id, path) != in_class_order(by_name, path):
        raise CheckpointError(
            f"{path} has ids on both sides, such as {first}; which are names is not said"
        )
    if all(class_id(value) is not None for value in loaded.values()) and not ids:
        return in_class_order(by_name, path)
    if len(by_id) < len(loaded) or all(class_id(key) is None for key in loaded):
        raise unknown_form(path, first)
    return in_class_order(by_id, path)


def _from_objects(
    loaded: Sequence[Mapping[str, object]], path: Path, first: str
) -> tuple[str, ...]:
    """Names of a list of objects by their ids, in the order of the list where they have none."""
    keys = set.intersection(*(set(each) for each in loaded))
    ids = [
        key
        for key in ID_WORDS
        if key in keys and all(class_id(each[key]) is not None for each in loaded)
    ]
    names = [
        key
        for key in NAME_WORDS
        if key in keys and key not in ids and all(isinstance(each[key], str) for each in loaded)
    ]
    if not names:
        raise unknown_form(path, first)
    if not ids:
        return tuple(str(each[names[0]]) for each in loaded)
    return in_class_order([(each[ids[0]], each[names[0]]) for each in loaded], path)
