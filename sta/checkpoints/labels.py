"""Class names: reading label files, and the fingerprint of a list of names."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sta.errors import CheckpointError
from sta.models.label_map import LabelMap

_FORMS = (
    "one name per line; lines or columns with an id and a name, separated by a comma, semicolon, "
    "tab or blank; or JSON: a list of names, a list of objects, or an object between ids and names"
)

# The cells of a header, in the order in which they are preferred for the column.
_ID_WORDS = (
    *("id", "index", "idx", "class_id", "class_index", "class_idx", "label_id", "label", "class"),
    *("number", "no", ""),
)
_NAME_WORDS = (
    *("name", "class_name", "label_name", "display_name", "label", "class", "action", "category"),
    *("title", "text", "classname", "labels", "names", "classes"),
)

# Keys under which a JSON file holds its class names and other things.
_SECTIONS = ("id2label", "labels", "classes", "categories", "names")

_SHOWN = 80
_log = logging.getLogger(__name__)

_Pair = tuple[object, object]


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
    names = _from_json(text, path) if text.startswith(("[", "{")) else _from_lines(text, path)
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
    return _checked(_in_class_order(list(by_id.items()), where, from_one=False), where)


def class_names(names: Sequence[object], where: object) -> tuple[str, ...]:
    """A checkpoint's list of class names.

    Raises:
        CheckpointError: one of them is no text, or has control characters.
    """
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{where} holds class names that are no text")
    return _without_controls(tuple(map(str, names)), where)


def _checked(names: tuple[str, ...], where: object) -> tuple[str, ...]:
    names = tuple(map(_unquoted, names))
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


def _refused(path: object, first: str) -> CheckpointError:
    shown = first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"
    return CheckpointError(
        f"{path} is in no form of label file that is known; it begins with {shown!r}. "
        f"Allowed: {_FORMS}"
    )


# --- ids ---------------------------------------------------------------------------------------


def _number(value: object) -> int | None:
    """The id that a value stands for; None if it is no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    match = re.fullmatch(
        r"\s*[\"']?\s*([0-9]{1,9})\s*[\"']?\s*", value if type(value) is str else ""
    )
    return int(match[1]) if match else None


def _first_id(ids: Sequence[int | None]) -> int | None:
    """0 or 1 if the ids are 0 to n - 1 or 1 to n, each once; None otherwise."""
    if not ids or None in ids:
        return None
    found = sorted(i for i in ids if i is not None)
    start = found[0]
    return start if start in (0, 1) and found == list(range(start, start + len(ids))) else None


def _in_class_order(
    pairs: Sequence[_Pair], where: object, *, from_one: bool = True
) -> tuple[str, ...]:
    """Names of (id, name) pairs in the order of their ids.

    `from_one`: whether ids may also be 1 to n.

    Raises:
        CheckpointError: the ids are not 0 to n - 1 or 1 to n; the message says what is wrong.
    """
    ids = [_number(each) for each, _ in pairs]
    start = _first_id(ids)
    if start is None or start > from_one:
        raise CheckpointError(
            f"the ids in {where} are not 0 to {len(ids) - 1}, each once: {_wrong(pairs)}"
        )
    if start == 1:
        _log.warning(
            "%s: its ids are 1 to %d and the model's classes 0 to %d; each is shifted by one",
            where,
            len(ids),
            len(ids) - 1,
        )
    ordered = sorted(zip(ids, (str(name) for _, name in pairs), strict=True))  # type: ignore[type-var]
    return tuple(name for _, name in ordered)


def _wrong(pairs: Sequence[_Pair]) -> str:
    ids = [_number(each) for each, _ in pairs]
    for (raw, _), found in zip(pairs, ids, strict=True):
        if found is None:
            return f"{raw!r} is no id"
    twice = [found for found, count in Counter(ids).items() if count > 1]
    if twice:
        return f"{twice[0]} comes more than once"
    missing = sorted(set(range(len(ids))) - set(ids))
    return f"{missing[0]} is missing"


# --- JSON --------------------------------------------------------------------------------------


def _from_json(text: str, path: Path) -> tuple[str, ...]:
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
        return _from_columns([[*map(str, row)] for row in loaded], path, first)
    raise _refused(path, first)


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
    ids = _first_id([_number(key) for key in loaded]) is not None
    values = _first_id([_number(value) for value in loaded.values()]) is not None
    if ids and values and _in_class_order(by_id, path) != _in_class_order(by_name, path):
        raise CheckpointError(
            f"{path} has ids on both sides, such as {first}; which are names is not said"
        )
    if all(_number(value) is not None for value in loaded.values()) and not ids:
        return _in_class_order(by_name, path)
    if len(by_id) < len(loaded) or all(_number(key) is None for key in loaded):
        raise _refused(path, first)
    return _in_class_order(by_id, path)


def _from_objects(
    loaded: Sequence[Mapping[str, object]], path: Path, first: str
) -> tuple[str, ...]:
    """Names of a list of objects by their ids, in the order of the list where they have none."""
    keys = set.intersection(*(set(each) for each in loaded))
    ids = [
        key
        for key in _ID_WORDS
        if key in keys and all(_number(each[key]) is not None for each in loaded)
    ]
    names = [
        key
        for key in _NAME_WORDS
        if key in keys and key not in ids and all(isinstance(each[key], str) for each in loaded)
    ]
    if not names:
        raise _refused(path, first)
    if not ids:
        return tuple(str(each[names[0]]) for each in loaded)
    return _in_class_order([(each[ids[0]], each[names[0]]) for each in loaded], path)


# --- lines -------------------------------------------------------------------------------------


def _lines(text: str) -> list[str]:
    # str.splitlines also splits at characters that may stand within a name.
    return [line.strip() for line in re.split(r"\r\n|\n|\r", text) if line.strip(" \t;,")]


def _from_lines(text: str, path: Path) -> tuple[str, ...]:
    lines = _lines(text)
    if not lines:
        return ()
    for mark in ",\t;":
        if (names := _delimited(lines, mark, path)) is not None:
            return names
    if (pairs := _spaced(lines)) is not None:
        return _in_class_order(pairs, path)
    header = _word(_unquoted(lines[0])) in _NAME_WORDS and len(lines) > 1
    return tuple(lines[1:] if header else lines)


def _delimited(lines: list[str], mark: str, path: Path) -> tuple[str, ...] | None:
    """Names of lines that are rows of columns; None if the mark does not separate columns."""
    rows = [_cells(line, mark) for line in lines]
    words = [_word(cell) for cell in rows[0]]
    header = len(words) > 1 and _is_header(words)
    body = lines[1:] if header else lines
    if not body:
        return None
    if header and len(words) > 2:
        return _from_table(words, rows[1:], path, lines)
    # Names may hold the mark too: an id stands before the first or after the last of them.
    if len({len(row) for row in rows}) == 1 and len(rows[0]) > 2:
        raise _refused(path, lines[0])
    sides = [[_split(line, mark, first=first) for line in body] for first in (True, False)]
    counted = [sum(pair is not None for pair in side) for side in sides]
    side = sides[0] if counted[0] >= counted[1] else sides[1]
    if 2 * max(counted) <= len(body):
        if header:
            return _from_table(words, rows[1:], path, lines)
        _without_ids(rows, path, lines[0])
        return None
    for line, pair in zip(body, side, strict=True):
        if pair is None:
            raise CheckpointError(
                f"{path} has lines with an id and a name, and {line!r} is none of them"
            )
    both = [_first_id([_number(pair[0]) for pair in each if pair]) for each in sides]
    if counted[0] == counted[1] == len(body):
        if None not in both:
            named = [_in_class_order([p for p in each if p], path) for each in sides]
            if named[0] != named[1]:
                raise CheckpointError(
                    f"{path} has ids on both sides, such as {lines[-1]!r}; which are names is not "
                    "said"
                )
        elif both[1] is not None:
            side = sides[1]
    return _in_class_order([pair for pair in side if pair], path)


def _without_ids(rows: list[list[str]], path: Path, first: str) -> None:
    """Refuses columns without a header. A mark that only some lines have is part of the names."""
    if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
        raise _refused(path, first)


def _from_table(
    words: list[str], rows: list[list[str]], path: Path, lines: list[str]
) -> tuple[str, ...]:
    """Names of rows under a header: by their ids, in the order of the rows where there are none."""
    for line, row in zip(lines[1:], rows, strict=True):
        if len(row) != len(words):
            raise CheckpointError(
                f"{path} has {len(words)} columns in its header {lines[0]!r} and {len(row)} in "
                f"{line!r}"
            )
    return _from_columns(rows, path, lines[0], words)


def _from_columns(
    rows: list[list[str]], path: Path, first: str, words: list[str] | None = None
) -> tuple[str, ...]:
    columns = list(zip(*rows, strict=True))
    words = words or [_ID_WORDS[0] if _is_ids(column) else _NAME_WORDS[0] for column in columns]
    ids = [
        i for word in _ID_WORDS for i, w in enumerate(words) if w == word and _is_ids(columns[i])
    ]
    names = [
        i for word in _NAME_WORDS for i, w in enumerate(words) if w == word and i not in ids[:1]
    ]
    if not names:
        raise _refused(path, first)
    if not ids:
        return tuple(columns[names[0]])
    return _in_class_order(list(zip(columns[ids[0]], columns[names[0]], strict=True)), path)


def _is_ids(column: Iterable[str]) -> bool:
    return all(_number(cell) is not None for cell in column)


def _is_header(words: list[str]) -> bool:
    return any(word in _NAME_WORDS for word in words) and all(
        _number(word) is None for word in words
    )


def _word(cell: str) -> str:
    return re.sub(r"[\s-]+", "_", cell.strip().casefold())


def _cells(line: str, mark: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, strict=True))]
    except csv.Error:
        return [cell.strip() for cell in line.split(mark)]


def _split(line: str, mark: str, *, first: bool) -> _Pair | None:
    """(id, name) of a line whose id is first or last; None if there is no id."""
    before, found, after = line.partition(mark) if first else line.rpartition(mark)
    number, name = (before, after) if first else (after, before)
    return (number, name.strip()) if found and _number(number) is not None else None


def _spaced(lines: list[str]) -> list[_Pair] | None:
    """(id, name) pairs of lines; None if the numbers are parts of names."""
    header = [_word(cell) for cell in lines[0].split()]
    starts = (1, 0) if len(header) > 1 and _is_header(header) else (0,)
    for start in starts:
        body = lines[start:]
        for pattern, order in ((r"([0-9]{1,9})\s*[\s:.)]\s*(.+)", 1), (r"(.+)\s+([0-9]{1,9})", -1)):
            found = [re.fullmatch(pattern, line) for line in body]
            pairs = [match.groups()[::order] for match in found if match]
            names = {_unquoted(str(name)) for _, name in pairs}
            complete = len(body) > 1 and len(pairs) == len(body) == len(names)
            if complete and _first_id([_number(each) for each, _ in pairs]) is not None:
                return [(each, name) for each, name in pairs]
    return None


def _unquoted(name: str) -> str:
    """A name without the quotes that CSV writers put around a cell, and JSON writers twice."""
    name = name.strip()
    while len(name) > 1 and name[0] == name[-1] == '"':
        inner = name[1:-1]
        if re.fullmatch(r'(?:[^"]|"")*', inner):
            inner = inner.replace('""', '"')
        elif '"' in inner.strip('"'):
            return name
        name = inner.strip()
    return name
