"""Label maps: from the classes of a checkpoint to other labels, such as Kinetics-710's to 400's.

The rows of the head whose classes have a label are kept and the others are dropped, so that a map
costs nothing and softmax runs over the mapped classes alone. So do VideoMAE V2's authors evaluate
their 710 classes on Kinetics-400.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sta.checkpoints.labels import class_names, read_text
from sta.errors import CheckpointError
from sta.models.label_map import LabelMap

_FORMS = (
    "a JSON list with the checkpoint's class of each label, a list of labels that are class names "
    "of the checkpoint, or pairs of a class and its label: two columns, or a JSON object"
)

# First cells of a header, in lower case.
_HEADS = {"class", "class_id", "class_name", "id", "index", "name", "label", "source", "from"}
_EXAMPLES = 5

_Pair = tuple[object, object]


def read_label_map(path: Path, names: Sequence[str], classes: int) -> LabelMap:
    """The label map in a file.

    Three forms, of which the first two keep their order:

    - a JSON list of the checkpoint's class indices, one per label, as VideoMAE V2 has it. The names
      of the labels are `names` if there are as many, else the names of these classes;
    - a list of labels, one per line or JSON, each of which is a class name of the checkpoint but
      for case and punctuation;
    - pairs of a class, by name or index, and its label: lines of two columns (CSV, TSV, semicolon)
      or a JSON object. Several classes may have one label; a class that is missing or has none is
      dropped. Labels are in alphabetical order, as those of Kinetics and Something-Something are.

    Args:
        path: the file.
        names: class names of the checkpoint in class order, or in the first form those of the
            labels; empty if there are none.
        classes: how many classes the checkpoint has.

    Raises:
        CheckpointError: the file is in another form, or names what the checkpoint does not have.
    """
    content = _content(read_text(path, "label map"), path)
    if not content:
        raise CheckpointError(f"{path} maps no class")
    if isinstance(content, list) and all(type(each) is int for each in content):
        return _from_indices([int(str(each)) for each in content], path, names, classes)
    if len(names) not in (0, classes):
        raise CheckpointError(
            f"{len(names)} labels are named and the checkpoint has {classes} classes; with {path}, "
            "which maps classes by name or index, the label file names those of the checkpoint"
        )
    classes_named = _Classes(names, classes, path)
    if isinstance(content, list):
        return _from_names([str(each) for each in content], classes_named)
    return _from_pairs(content, classes_named)


def _content(text: str, path: Path) -> list[object] | tuple[_Pair, ...]:
    """A list of indices or of names, or a tuple of pairs."""
    if text.startswith(("[", "{")):
        try:
            loaded = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"cannot read the label map {path}: it is no JSON") from error
        if isinstance(loaded, Mapping):
            return tuple(loaded.items())
        kinds = {type(each) for each in loaded}
        if kinds <= {int} or kinds <= {str}:
            return list(loaded)
        raise CheckpointError(f"{path} is no label map. Allowed: {_FORMS}")
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    for mark in "\t;,":
        rows = list(_rows(lines, mark))
        if all(len(row) == 2 for row in rows):
            return tuple((row[0], row[1]) for row in rows)
    return [line.strip() for line in lines]


def _rows(lines: list[str], mark: str) -> Iterator[list[str]]:
    for row in csv.reader(lines, delimiter=mark):
        yield [cell.strip() for cell in row]


class _Classes:
    """The classes of a checkpoint, found by name or index."""

    def __init__(self, names: Sequence[str], classes: int, path: Path) -> None:
        self.path, self.count, self.names = path, classes, tuple(names)
        self.exact = {name: row for row, name in enumerate(names)}
        loose = Counter(map(_loose, names))
        self.loose = {_loose(n): row for row, n in enumerate(names) if loose[_loose(n)] == 1}

    @property
    def examples(self) -> str:
        """Some of the classes, for an error."""
        if not self.names:
            return f"Its classes have no names here, only the indices 0 to {self.count - 1}"
        more = ", …" if len(self.names) > _EXAMPLES else ""
        return f"Its classes are {', '.join(map(repr, self.names[:_EXAMPLES]))}{more}"

    def find(self, named: object) -> int | None:
        """The class of a name or an index; None if there is none."""
        text = str(named).strip()
        if text in self.exact:
            return self.exact[text]
        if re.fullmatch(r"\d{1,9}", text):
            return int(text) if int(text) < self.count else None
        return self.loose.get(_loose(text))


def _loose(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def _from_indices(indices: list[int], path: Path, names: Sequence[str], classes: int) -> LabelMap:
    wrong = [index for index in indices if not 0 <= index < classes]
    if wrong:
        raise CheckpointError(
            f"{path} maps class {wrong[0]}; the checkpoint has classes 0 to {classes - 1}"
        )
    _check_once([str(index) for index in indices], path, "class")
    if len(names) == classes:
        labels = tuple(names[index] for index in indices)
    elif len(names) == len(indices):
        labels = tuple(names)
    elif names:
        raise CheckpointError(
            f"{len(names)} labels are named; {path} maps to {len(indices)} labels, and the "
            f"checkpoint has {classes} classes"
        )
    else:
        labels = tuple(str(label) for label in range(len(indices)))
    return LabelMap(labels, tuple(indices), tuple(range(len(indices))), classes)


def _from_names(labels: list[str], classes: _Classes) -> LabelMap:
    labels = list(class_names(labels, classes.path))
    _check_once(labels, classes.path, "label")
    found = [classes.find(label) for label in labels]
    if missing := [label for label, row in zip(labels, found, strict=True) if row is None]:
        shown = ", ".join(map(repr, missing[:_EXAMPLES]))
        raise CheckpointError(
            f"{classes.path}: {len(missing)} of its labels are no class of the checkpoint: {shown}"
            f"{', …' if len(missing) > _EXAMPLES else ''}. {classes.examples}. Write lines of two "
            "columns, a class of the checkpoint and its label; the checkpoint's class names are "
            "those of the label file, if one is named"
        )
    rows = [row for row in found if row is not None]
    _check_once([str(row) for row in rows], classes.path, "class")
    return LabelMap(tuple(labels), tuple(rows), tuple(range(len(rows))), classes.count)


def _from_pairs(pairs: Sequence[_Pair], classes: _Classes) -> LabelMap:
    path = classes.path
    first = str(pairs[0][0]).strip()
    if classes.find(first) is None and first.casefold() in _HEADS:
        pairs = pairs[1:]
    label_of: dict[int, str] = {}
    for named, label in pairs:
        row = classes.find(named)
        if row is None:
            raise CheckpointError(
                f"{path} maps {named!r}, which is no class of the checkpoint, by name or by index "
                f"from 0 to {classes.count - 1}. {classes.examples}"
            )
        if row in label_of:
            raise CheckpointError(f"{path} maps class {named!r} more than once")
        if label is not None and not isinstance(label, str):
            raise CheckpointError(f"{path} maps {named!r} to {label!r}, which is no label")
        label_of[row] = (label or "").strip()
    kept = {row: label for row, label in label_of.items() if label}
    if not kept:
        raise CheckpointError(f"{path} maps no class to a label")
    labels = class_names(sorted(set(kept.values())), path)
    number = {label: place for place, label in enumerate(labels)}
    rows = sorted(kept, key=lambda row: (number[kept[row]], row))
    return LabelMap(labels, tuple(rows), tuple(number[kept[row]] for row in rows), classes.count)


def _check_once(values: Sequence[str], path: Path, what: str) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise CheckpointError(f"{path} has {what} {twice[0]!r} more than once")
