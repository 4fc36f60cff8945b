"""Tables of words: one column per run, one row per figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline import formatting
from pipeline.reports.cost.compare import RunComparison, RunFigures

Cell = Callable[[RunFigures], str | None]
Number = Callable[[RunFigures], float]


@dataclass(frozen=True)
class Table:
    """A table of words.

    Attributes:
        title: what it is of.
        columns: headings.
        rows: as many cells each; the first names the row.
        about: what a reader must know before it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    about: str = ""


def by_run(
    found: RunComparison, title: str, rows: list[tuple[str, Cell]], about: str = ""
) -> Table:
    """A table of one column per run; rows that no run has anything to say in are left out."""
    shown = []
    for heading, cell in rows:
        cells = [cell(each) for each in found.runs]
        if any(each is not None for each in cells):
            shown.append((heading, *(each or "–" for each in cells)))
    return Table(title, ("", *(each.run.name for each in found.runs)), tuple(shown), about)


def against(found: RunComparison, number: Number, said: Callable[[float], str]) -> Cell:
    """The number in words, and beside it what part of the reference's it is."""

    def cell(each: RunFigures) -> str:
        text, whole = said(number(each)), number(found.reference)
        if each is found.reference or not whole:
            return text
        return f"{text} ({formatting.percent(number(each), whole)})"

    return cell
