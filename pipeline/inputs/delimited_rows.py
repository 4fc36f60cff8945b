"""Splits delimited text into rows of cells; a bad row costs no other row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.inputs.list_row import why_not_utf8

_BLANKS_AFTER_QUOTE = re.compile(r'"[ \t]+(?=[,;|]|\t|[\r\n]|$)')


class Cells(NamedTuple):
    """The cells of a row that begins at a line, or why it cannot be read.

    Attributes:
        number: of the first line.
        cells: stripped of blanks, without empty cells at the end.
        line: text of the first line.
        problem: why the row cannot be read; "" if it can.
    """

    number: int
    cells: list[str]
    line: str
    problem: str = ""


def delimited_rows(
    lines: Iterable[str], delimiter: str, may_span: Callable[[list[str]], bool]
) -> Iterator[Cells]:
    """Yields the rows that are not empty, by the rules of CSV.

    A row that cannot be read is its first line alone: after a quote that is missing, the rows that
    it would swallow are read as rows.

    Args:
        lines: all lines, decoded with `surrogateescape`.
        delimiter: character between cells.
        may_span: whether cells may stand on several lines.
    """
    source = _Lines(iter(lines))
    # `strict` makes a missing closing quote an error; otherwise all remaining lines would be one
    # cell. It also refuses blanks between a closing quote and the delimiter, which `_Lines` drops.
    rows = csv.reader(source, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        source.begin_row()
        problem, cells = "", []
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"its quotes are not those of CSV ({error})"
        line = source.taken[0]
        if not problem:
            problem = next(filter(None, map(why_not_utf8, source.taken)), "")
        if not problem and len(source.taken) > 1 and not may_span(cells):
            problem = (
                f"a cell goes on for {len(source.taken)} lines; a quote is missing or too many"
            )
        if problem:
            source.give_back()
            rows = csv.reader(source, delimiter=delimiter, skipinitialspace=True, strict=True)
            yield Cells(source.first, [], line, problem)
            continue
        cells = without_empty_end(cells)
        if cells:
            yield Cells(source.first, cells, line)


def split(line: str, delimiter: str) -> list[str]:
    """The cells of one line; none if its quotes are not those of CSV."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return without_empty_end(cells)


def without_empty_end(cells: list[str]) -> list[str]:
    """Stripped, and without empty cells at the end, which spreadsheets write for empty columns."""
    stripped = [cell.strip() for cell in cells]
    while stripped and not stripped[-1]:
        stripped.pop()
    return stripped


@dataclass
class _Lines:
    """Lines for a CSV reader, which remembers those of the row that it reads."""

    source: Iterator[str]

    def __post_init__(self) -> None:
        self.taken: list[str] = []
        self.first = 1
        self._again: deque[str] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self.source)
        self.taken.append(line)
        return _BLANKS_AFTER_QUOTE.sub('"', line) if '"' in line else line

    def begin_row(self) -> None:
        self.first += len(self.taken)
        self.taken = []

    def give_back(self) -> None:
        """All lines of the row but the first are read again."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
