"""Bars with quartiles, as SVG; without matplotlib there is no plot, and the table says it all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.lab.benchmark.paired import Spread

if TYPE_CHECKING:
    from pipeline.lab.benchmark.report import Report, Row

_BAR, _QUARTILES, _GOAL = "#4477aa", "#222222", "#cc6677"


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
