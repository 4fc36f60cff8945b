"""Writes evaluation.html and evaluation.json."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.formatting import json_text
from pipeline.lab.evaluation.plots import plots
from pipeline.lab.evaluation.results import EvaluationResults, as_json
from pipeline.lab.evaluation.text import (
    COLUMNS,
    COMPARED,
    LEGEND,
    MARKED,
    against_sta,
    compared,
    lead,
    methodology,
    notes,
    row,
    share_reached,
    tiles,
    verdicts,
)
from pipeline.reports.html.report import (
    Bullets,
    Plots,
    Section,
    Table,
    Text,
    Tiles,
    report_page,
)
from pipeline.storage.location import Location

PAGE = "evaluation.html"
CONTENT = "evaluation.json"


def write(found: EvaluationResults, out: Location) -> Location:
    """Writes both into a folder; where the page lies."""
    out.child(CONTENT).write_bytes(json_text(as_json(found)).encode())
    page = out.child(PAGE)
    page.write_bytes(_page(found).encode())
    return page


def _stacked(cells: Sequence[str]) -> tuple[str | Markup, ...]:
    """The cells of a wide table, intervals under their figures."""
    return cells[0], *map(_over, cells[1:])


def _over(cell: str) -> Markup:
    value, found, interval = cell.partition(" (")
    return Markup.escape(value) + (Markup("<br>") + f"({interval}" if found else "")


def _page(found: EvaluationResults) -> str:
    left_out = notes(found)
    comparisons = [
        Section(
            [
                Text(verdicts(table, found)),
                Text(f"Paper: {table.says}.", soft=True),
                Table(
                    COMPARED,
                    [compared(line, found) for line in table.lines],
                    about=MARKED,
                    numbers=True,
                ),
            ],
            table.title,
        )
        for table in found.tables
    ]
    methods = [
        Section(
            [
                Bullets(against_sta(share, found)),
                Table(
                    COLUMNS,
                    [_stacked(row(each)) for each in share],
                    about=" ".join(LEGEND),
                    numbers=True,
                ),
            ],
            f"STA and other methods at {share_reached(share, found)}",
        )
        for share in found.shares
    ]
    every = Table(
        COLUMNS,
        [_stacked(row(each)) for each in found.distinct],
        about=" ".join(LEGEND),
        numbers=True,
    )
    sections = [
        Section([Tiles(tiles(found))]),
        Section([Bullets(left_out)] if left_out else [], "Notes", warning=True),
        Section([Plots(plots(found), width=26)]),
        *methods,
        *comparisons,
        Section([every], "All variants"),
        Section([Bullets(methodology(found))], "Methodology", folded=True),
    ]
    return report_page("What pruning costs in accuracy", sections, lead=lead(found))
