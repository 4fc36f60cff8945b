"""Tables with one column per run and one row per figure."""

from __future__ import annotations

from collections.abc import Callable

from pipeline import formatting
from pipeline.reports.cost.compare import RunComparison, RunFigures
from pipeline.reports.html.report import Table

Cell = Callable[[RunFigures], str | None]
Number = Callable[[RunFigures], float]


def by_run(
    found: RunComparison, title: str, rows: list[tuple[str, Cell]], about: str = ""
) -> Table:
    """A table with one column per run; rows in which every cell is None are left out."""
    shown: list[tuple[str, ...]] = []
    for heading, cell in rows:
        cells = [cell(each) for each in found.runs]
        if any(each is not None for each in cells):
            shown.append((heading, *(each or "–" for each in cells)))
    columns = ("", *(each.run.name for each in found.runs))
    return Table(columns, shown, title, about)


def against(found: RunComparison, number: Number, said: Callable[[float], str]) -> Cell:
    """The number in words, and beside it what part of the reference's it is."""

    def cell(each: RunFigures) -> str:
        text, whole = said(number(each)), number(found.reference)
        if each is found.reference or not whole:
            return text
        return f"{text} ({formatting.percent(number(each), whole)})"

    return cell
