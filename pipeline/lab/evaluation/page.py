"""Writes evaluation.html and evaluation.json."""

from __future__ import annotations

import json

from pipeline.lab.evaluation.findings import Findings, as_json
from pipeline.lab.evaluation.plots import plots
from pipeline.lab.evaluation.words import (
    COLUMNS,
    COMPARED,
    cards,
    compared,
    how,
    margin,
    notes,
    row,
    verdicts,
)
from pipeline.reports.html.render import render
from pipeline.storage.location import Location

PAGE = "evaluation.html"
CONTENT = "evaluation.json"


def write(found: Findings, out: Location) -> Location:
    """Writes both into a folder; where the page lies."""
    text = json.dumps(as_json(found), indent=2, ensure_ascii=False, allow_nan=False)
    out.child(CONTENT).write_bytes(text.encode() + b"\n")
    page = out.child(PAGE)
    page.write_bytes(_page(found).encode())
    return page


def _page(found: Findings) -> str:
    return render(
        "lab/evaluation/evaluation.html.j2",
        title="What pruning costs in accuracy",
        margin=margin(found),
        cards=cards(found),
        notes=notes(found),
        plots=plots(found),
        compared=COMPARED,
        tables=[
            {
                "title": table.title,
                "says": table.says,
                "verdict": verdicts(table, found),
                "rows": [compared(line, found) for line in table.lines],
            }
            for table in found.tables
        ],
        columns=COLUMNS,
        rows=[row(each) for each in found.figures],
        how=how(found),
    )
