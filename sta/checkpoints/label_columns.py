"""Columns of a label file: which of them holds the ids of classes, and which their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sta.checkpoints.class_ids import class_id, in_class_order
from sta.errors import CheckpointError

# The cells of a header, in the order in which they are preferred for the column.
ID_WORDS = (
    *("id", "index", "idx", "class_id", "class_index", "class_idx", "label_id", "label", "class"),
    *("number", "no", ""),
)
NAME_WORDS = (
    *("name", "class_name", "label_name", "display_name", "label", "class", "action", "category"),
    *("title", "text", "classname", "labels", "names", "classes"),
)

_FORMS = (
    "one name per line; lines or columns with an id and a name, separated by a comma, semicolon, "
    "tab or blank; or JSON: a list of names, a list of objects, or an object between ids and names"
)
_SHOWN = 80


def names_of_columns(
    rows: list[list[str]], path: Path, first: str, words: list[str] | None = None
) -> tuple[str, ...]:
    """Names in rows of cells: by their ids, in the order of the rows where there are none.

    Args:
        rows: the cells, as many in each row.
        path: the file, for errors.
        first: how the file begins, for errors.
        words: `header_word` of each cell of the header; None where there is no header.

    Raises:
        CheckpointError: no column holds names, or the ids are not 0 to n - 1 or 1 to n.
    """
    columns = list(zip(*rows, strict=True))
    words = words or [ID_WORDS[0] if _is_ids(column) else NAME_WORDS[0] for column in columns]
    ids = [i for word in ID_WORDS for i, w in enumerate(words) if w == word and _is_ids(columns[i])]
    names = [
        i for word in NAME_WORDS for i, w in enumerate(words) if w == word and i not in ids[:1]
    ]
    if not names:
        raise unknown_form(path, first)
    if not ids:
        return tuple(columns[names[0]])
    return in_class_order(list(zip(columns[ids[0]], columns[names[0]], strict=True)), path)


def _is_ids(column: Iterable[str]) -> bool:
    return all(class_id(cell) is not None for cell in column)


def is_header(words: list[str]) -> bool:
    """Whether these `header_word`s of a row are names of columns."""
    return any(word in NAME_WORDS for word in words) and all(
        class_id(word) is None for word in words
    )


def header_word(cell: str) -> str:
    """A cell as it stands in `ID_WORDS` and `NAME_WORDS`: lower case, "_" for blanks and dashes."""
    return re.sub(r"[\s-]+", "_", cell.strip().casefold())


def unknown_form(path: object, first: str) -> CheckpointError:
    """The error for a file in no known form; `first` is how the file begins."""
    shown = first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"
    return CheckpointError(
        f"{path} is in no form of label file that is known; it begins with {shown!r}. "
        f"Allowed: {_FORMS}"
    )
