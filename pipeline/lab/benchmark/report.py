"""Report of a benchmark: text table, JSON with the conditions of the measurement, and plot."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.formatting import text_table
from pipeline.lab.benchmark.paired import Spread
from workers.machine import cpu_model, usable_cores

Row = Mapping[str, Any]

_PACKAGES = ("torch", "transformers", "triton", "ray", "av", "decord", "pyarrow", "numpy")
_LEGEND = "Columns:"
_BAR, _QUARTILES, _GOAL = "#4477aa", "#222222", "#cc6677"


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: key in the rows.
        heading: above the column.
        meaning: what it holds, with its unit; stands in the JSON.
        format: of its numbers, such as ".2f".
    """

    name: str
    heading: str
    meaning: str
    format: str = ""

    def text(self, row: Row) -> str:
        """The cell; "-" where the row has none."""
        value = row.get(self.name)
        if value is None:
            return "-"
        return str(value) if isinstance(value, str) else format(value, self.format)


@dataclass(frozen=True)
class Chart:
    """The chart of a table: a bar for each row, with its quartiles.

    Attributes:
        bar: name of the column that the bars show.
        axis: what the bars show, with its unit.
        labels: columns that name a row.
        mark: name of a column drawn as a mark on each bar, such as a goal.
        limit: a value drawn as a line across all bars.
    """

    bar: str
    axis: str
    labels: tuple[str, ...]
    mark: str | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Report:
    """Result of one part of the benchmark.

    Attributes:
        part: name of the part, which also names its files.
        title: one line above the table.
        columns: of the table.
        rows: values by column name; numbers, text, `Spread` or None.
        conditions: of the measurement, from `conditions`.
        chart: what to draw.
        notes: lines below the table.
    """

    part: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    conditions: Mapping[str, Any]
    chart: Chart
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Title, table, notes, and what each column holds."""
        cells = [[column.heading for column in self.columns]]
        cells += [[column.text(row) for column in self.columns] for row in self.rows]
        left = [at for at in range(len(self.columns)) if self._is_text(at)]
        meanings = text_table([(each.heading, each.meaning) for each in self.columns], left=(0, 1))
        legend = [f"  {line}" for line in meanings]
        return "\n".join([self.title, *text_table(cells, left=left), *self.notes, _LEGEND, *legend])

    def _is_text(self, column: int) -> bool:
        name = self.columns[column].name
        return any(isinstance(row.get(name), str) for row in self.rows)

    def content(self) -> dict[str, Any]:
        """Content of PART.json."""
        return {
            "part": self.part,
            "title": self.title,
            "conditions": dict(self.conditions),
            "columns": {column.name: column.meaning for column in self.columns},
            "rows": [{name: _plain(value) for name, value in row.items()} for row in self.rows],
            "notes": list(self.notes),
        }


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Spread) else value


def conditions(**more: Any) -> dict[str, Any]:
    """Machine, cores, versions and time, and what the caller adds."""
    return {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": cpu_model(),
        "cores": usable_cores(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        **more,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def save(report: Report, folder: Path) -> list[Path]:
    """Writes PART.json and, where matplotlib is installed, PART.svg; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.part}.json"
    path.write_text(json.dumps(report.content(), indent=2) + "\n")
    plot = draw(report, folder / f"{report.part}.svg")
    return [path, plot] if plot else [path]


def draw(report: Report, path: Path) -> Path | None:
    """Draws the report's chart; None where matplotlib is not installed or there are no bars."""
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    chart = report.chart
    rows = [row for row in report.rows if row.get(chart.bar) is not None]
    if not rows:
        return None
    figure = Figure(figsize=(9, 1.6 + 0.34 * len(rows)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    spreads = [_spread(row[chart.bar]) for row in rows]
    _bars(axes, spreads)
    _goals(axes, report, rows)
    axes.set_yticks(range(len(rows)), [_label(report, row) for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(axes.get_xlim()[1], *(spread.high for spread in spreads)))
    axes.set_xlabel(chart.axis)
    axes.set_title(report.title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    return path


def _bars(axes: Any, spreads: list[Spread]) -> None:
    axes.barh(
        range(len(spreads)),
        [spread.median for spread in spreads],
        xerr=[
            [spread.median - spread.low for spread in spreads],
            [spread.high - spread.median for spread in spreads],
        ],
        color=_BAR,
        height=0.62,
        error_kw={"ecolor": _QUARTILES, "elinewidth": 1},
    )
    for place, spread in enumerate(spreads):
        axes.annotate(
            f"{spread.median:.3g}",
            (spread.high, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )


def _goals(axes: Any, report: Report, rows: list[Row]) -> None:
    chart = report.chart
    if chart.mark is not None:
        known = [(row[chart.mark], at) for at, row in enumerate(rows) if row.get(chart.mark)]
        heading = next(each.heading for each in report.columns if each.name == chart.mark)
        axes.scatter(
            [_spread(value).median for value, _ in known],
            [at for _, at in known],
            marker="|",
            s=220,
            color=_GOAL,
            zorder=3,
            label=heading,
        )
    if chart.limit is not None:
        axes.axvline(chart.limit, color=_GOAL, linestyle="--", label=f"{chart.limit:g}")
    if chart.mark is not None or chart.limit is not None:
        axes.legend(loc="best", fontsize=8, frameon=False)


def _spread(value: Any) -> Spread:
    return value if isinstance(value, Spread) else Spread(value, value, value)


def _label(report: Report, row: Row) -> str:
    """What names a row; a number under its column's heading."""
    headings = {column.name: column.heading for column in report.columns}
    named = [(name, row.get(name)) for name in report.chart.labels]
    return ", ".join(
        value if isinstance(value, str) else f"{headings[name]} {value}"
        for name, value in named
        if value not in (None, "")
    )
