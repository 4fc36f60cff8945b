"""Writes a cost report: HTML page, Markdown, JSON, and a few lines for the terminal."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
from pathlib import Path
from typing import Any

from pipeline import formatting
from pipeline.formatting import counted, json_text, text_table
from pipeline.reports.cost.compare import RunComparison, RunFigures
from pipeline.reports.cost.cost_tables import device_name
from pipeline.reports.cost.methodology import explained
from pipeline.reports.cost.plots import plots
from pipeline.reports.cost.presentation import (
    configuration,
    distribution,
    headline,
    percent_or_unknown,
    tables,
)
from pipeline.reports.html.report import (
    Block,
    Bullets,
    Code,
    Heading,
    Plots,
    Section,
    Table,
    Text,
    Tiles,
    report_page,
)
from sta.text import displayed

# Columns of a terminal that text is wrapped to.
_SCREEN = 100
_AFTER_NUMBER = re.compile(r"(?<=\d) (?=\w+\b|%)")

NO_PRICES = "No prices, so no cost is shown: give --prices FILE, such as infra/prices.yaml."


def write(found: RunComparison, folder: Path) -> Path:
    """Writes report.html, report.md and report.json; the page."""
    files = {
        "report.json": json_text(as_json(found)),
        "report.md": markdown(found),
        "report.html": html(found),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "report.html"


def as_json(found: RunComparison) -> dict[str, Any]:
    """Every figure, unrounded; what is not known is null."""
    content = {
        "version": 1,
        "reference": found.reference.run.name,
        "shared": {
            "videos": len(found.shared.ids),
            "all": found.shared.all,
            "left_out": [{"why": why, "videos": count} for why, count in found.shared.reasons],
        },
        "prices": None if found.prices is None else found.prices.as_json(),
        "prices_from": found.prices_from or None,
        "notes": list(found.notes),
        "runs": [_run(each) for each in found.runs],
        "methodology": [
            dataclasses.asdict(each) | {"statements": dict(each.statements)}
            for each in explained(found)
        ],
    }
    return dict(_without_nan(content))


def _run(each: RunFigures) -> dict[str, Any]:
    rows = each.rows

    def plain(value: Any) -> Any:
        return None if value is None else dataclasses.asdict(value)

    return {
        "name": each.run.name,
        "uri": each.run.uri,
        "identity": each.run.identity.to_json(),
        "device": each.run.record.to_json().get("device"),
        "labeled": rows.ok,
        "labeled_video_ns": rows.ok_ns,
        "work": plain(rows.shared),
        "whole": plain(rows.whole),
        "held": plain(each.held),
        "labeling": plain(rows.used.labeling),
        "work_cost": each.work_cost and plain(each.work_cost) | {"total": each.work_cost.total},
        "shadow_cost": each.shadow_cost,
        "cluster": plain(each.cluster),
        "cost_per_video": distribution(each),
        "agreement": plain(each.agreement),
        "accuracy": plain(each.accuracy),
        "accuracy_less_reference": plain(each.difference),
        "shadow": plain(each.shadow),
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def html(found: RunComparison) -> str:
    """The page."""
    others = ", ".join(each.run.name for each in found.runs if each is not found.reference)
    short = f"In short: {others} against {found.reference.run.name}"
    notes = _notes(found)
    sections = [
        Section([Tiles(headline(found))], short),
        Section([Bullets(notes)] if notes else [], "Notes", warning=True),
        Section([Plots(plots(found), width=26)]),
        *(
            Section([dataclasses.replace(_unbroken(table), title="")], table.title)
            for table in tables(found)
        ),
        Section([_unbroken(configuration(found))], "Configuration", folded=True),
        Section(_methodology(found), "Methodology", folded=True),
    ]
    return report_page(title(found), sections, lead=lead(found))


def _notes(found: RunComparison) -> list[str]:
    return [*found.notes, *([] if found.prices else [NO_PRICES])]


def _methodology(found: RunComparison) -> list[Block]:
    blocks: list[Block] = []
    for each in explained(found):
        blocks += [Heading(each.figure), Text(each.words)]
        blocks += [Code(text, f"DuckDB: {name}") for name, text in each.statements]
    return blocks


def _unbroken(table: Table) -> Table:
    """The table with numbers and their units on one line, however narrow its columns."""
    rows = [[_AFTER_NUMBER.sub("\u00a0", cell) for cell in row] for row in table.rows]
    return dataclasses.replace(table, rows=rows)


def markdown(found: RunComparison) -> str:
    """The same without plots."""
    parts = [f"# {_escaped(title(found))}", *map(_escaped, lead(found))]
    notes = _notes(found)
    if notes:
        parts.append("\n".join(f"- {_escaped(note)}" for note in notes))
    for table in [*tables(found), configuration(found)]:
        parts += [f"## {_escaped(table.title)}", *([table.about] if table.about else [])]
        parts.append(_markdown_table(table))
    parts.append("## Methodology")
    for each in explained(found):
        parts += [f"### {each.figure}", each.words]
        parts += [f"{_escaped(name)}:\n\n```sql\n{text}\n```" for name, text in each.statements]
    return "\n\n".join(parts) + "\n"


def title(found: RunComparison) -> str:
    """Such as `Cost report: a, b`."""
    return "Cost report: " + ", ".join(each.run.name for each in found.runs)


def lead(found: RunComparison) -> list[str]:
    """What is compared, and what is left out; a paragraph each."""
    shared, every = len(found.shared.ids), found.shared.all
    length = formatting.hours(found.reference.rows.shared.video_hours)
    lines = [
        f"Compared on the {shared:,} videos ({length}) that every run labeled, of {every:,} in "
        f"any of them. The reference is {found.reference.run.name} "
        f"({found.reference.run.pruning})."
    ]
    if shared < every:
        reasons = "; ".join(f"{count:,} {why}" for why, count in found.shared.reasons)
        lines.append(f"Left out: {counted(every - shared, 'videos')} ({reasons}).")
    return lines


def _markdown_table(table: Table) -> str:
    rows = [table.columns, ("---",) * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(map(_escaped, row)) + " |" for row in rows)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = displayed(text)
    for special in ("\\", "|", "*", "_", "`", "<", "["):
        text = text.replace(special, f"\\{special}")
    return text


def screen(found: RunComparison) -> str:
    """A short table for the terminal."""
    columns = [["", *_screen_headings(found)]]
    for each in found.runs:
        columns.append([f"{each.run.name} ({each.run.pruning})", *_screen_cells(each, found)])
    table = text_table(list(zip(*columns, strict=True)), left=range(len(columns)))
    notes = _notes(found)
    said = [*lead(found), "", *table, *(["", *notes] if notes else [])]
    return "\n".join(line if line in table else _wrapped(line) for line in said)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _SCREEN, break_long_words=False, break_on_hyphens=False)


def _screen_headings(found: RunComparison) -> list[str]:
    work, cluster = "Work per 1,000 videos", "Cluster per 1,000 videos"
    return [
        "FLOPs per video",
        device_name(found),
        "Decoding, core time",
        "Wall time",
        *([work, cluster] if found.prices else []),
        "Same label",
        "Accuracy",
    ]


def _screen_cells(each: RunFigures, found: RunComparison) -> list[str]:
    work, priced = each.rows.shared, []
    if found.prices is not None and each.work_cost is not None and each.cluster.cost is not None:
        currency = found.prices.currency
        priced = [
            formatting.money(1000 * each.work_cost.total / work.videos, currency),
            formatting.money(1000 * each.cluster.cost / each.rows.ok, currency),
        ]
    unknown = "reference" if each is found.reference else formatting.UNKNOWN
    return [
        formatting.quantity(work.flops / work.videos, "FLOPs"),
        formatting.seconds(work.device_s),
        formatting.seconds(work.decode_s),
        formatting.seconds(each.held.wall_s),
        *priced,
        unknown if each.agreement is None else percent_or_unknown(each.agreement.top1),
        percent_or_unknown(each.accuracy),
    ]
