"""Label files of lines: one name each, or an id and a name, or rows of a table."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from sta.checkpoints.class_ids import Pair, class_id, first_id, in_class_order
from sta.checkpoints.label_columns import (
    NAME_WORDS,
    header_word,
    is_header,
    names_of_columns,
    unknown_form,
)
from sta.errors import CheckpointError


def names_of_lines(text: str, path: Path) -> tuple[str, ...]:
    """Names in a text of lines, in class order.

    Raises:
        CheckpointError: the lines are in no known form, or their ids are not 0 to n - 1 or 1 to n.
    """
    lines = _lines(text)
    if not lines:
        return ()
    for mark in ",\t;":
        if (names := _delimited(lines, mark, path)) is not None:
            return names
    if (pairs := _spaced(lines)) is not None:
        return in_class_order(pairs, path)
    header = header_word(unquoted(lines[0])) in NAME_WORDS and len(lines) > 1
    return tuple(lines[1:] if header else lines)


def _lines(text: str) -> list[str]:
    # str.splitlines also splits at characters that may stand within a name.
    return [line.strip() for line in re.split(r"\r\n|\n|\r", text) if line.strip(" \t;,")]


def _delimited(lines: list[str], mark: str, path: Path) -> tuple[str, ...] | None:
    """Names of lines that are rows of columns; None if the mark does not separate columns."""
    rows = [_cells(line, mark) for line in lines]
    words = [header_word(cell) for cell in rows[0]]
    header = len(words) > 1 and is_header(words)
    body = lines[1:] if header else lines
    if not body:
        return None
    if header and len(words) > 2:
        return _from_table(words, rows[1:], path, lines)
    # Names may hold the mark too: an id stands before the first or after the last of them.
    if len({len(row) for row in rows}) == 1 and len(rows[0]) > 2:
        raise unknown_form(path, lines[0])
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
    both = [first_id([class_id(pair[0]) for pair in each if pair]) for each in sides]
    if counted[0] == counted[1] == len(body):
        if None not in both:
            named = [in_class_order([p for p in each if p], path) for each in sides]
            if named[0] != named[1]:
                raise CheckpointError(
                    f"{path} has ids on both sides, such as {lines[-1]!r}; which are names is not "
                    "said"
                )
        elif both[1] is not None:
            side = sides[1]
    return in_class_order([pair for pair in side if pair], path)


def _without_ids(rows: list[list[str]], path: Path, first: str) -> None:
    """Refuses columns without a header. A mark that only some lines have is part of the names."""
    if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
        raise unknown_form(path, first)


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
    return names_of_columns(rows, path, lines[0], words)


def _cells(line: str, mark: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, strict=True))]
    except csv.Error:
        return [cell.strip() for cell in line.split(mark)]


def _split(line: str, mark: str, *, first: bool) -> Pair | None:
    """(id, name) of a line whose id is first or last; None if there is no id."""
    before, found, after = line.partition(mark) if first else line.rpartition(mark)
    number, name = (before, after) if first else (after, before)
    return (number, name.strip()) if found and class_id(number) is not None else None


def _spaced(lines: list[str]) -> list[Pair] | None:
    """(id, name) pairs of lines; None if the numbers are parts of names."""
    header = [header_word(cell) for cell in lines[0].split()]
    starts = (1, 0) if len(header) > 1 and is_header(header) else (0,)
    for start in starts:
        body = lines[start:]
        for pattern, order in ((r"([0-9]{1,9})\s*[\s:.)]\s*(.+)", 1), (r"(.+)\s+([0-9]{1,9})", -1)):
            found = [re.fullmatch(pattern, line) for line in body]
            pairs = [match.groups()[::order] for match in found if match]
            names = {unquoted(str(name)) for _, name in pairs}
            complete = len(body) > 1 and len(pairs) == len(body) == len(names)
            if complete and first_id([class_id(each) for each, _ in pairs]) is not None:
                return [(each, name) for each, name in pairs]
    return None


def unquoted(name: str) -> str:
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
