"""Plots of a run report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from pipeline.formatting import duration
from pipeline.reports.html.figures import COLORS, inline_svg, new_figure

# A pause between attempts is drawn this wide, of the time at work; its true length stands in it.
_GAP = 0.08
_TICKS = 5
_MOST_DIGITS = 6  # of a second

# Inches, for plots of which three or four stand side by side.
_SMALL = (3.4, 3.0)


@dataclass(frozen=True)
class _Axis:
    """Where times lie on an axis on which pauses are short.

    Attributes:
        offsets: of each span, what to take from its times.
        gaps: (from, to) on the axis of each pause, and its true length in seconds.
        width: of the whole axis.
    """

    offsets: list[float]
    gaps: list[tuple[float, float, float]]
    width: float

    @classmethod
    def of(cls, spans: Sequence[Mapping[str, Any]]) -> _Axis:
        worked = sum(span["ended"] - span["began"] for span in spans)
        place, offsets, gaps = 0.0, [], []
        for number, span in enumerate(spans):
            if number:
                pause = max(0.0, span["began"] - spans[number - 1]["ended"])
                shown = min(pause, _GAP * worked)
                gaps.append((place, place + shown, pause))
                place += shown
            offsets.append(span["began"] - place)
            place += span["ended"] - span["began"]
        return cls(offsets, gaps, place)


def rate_over_time(spans: Sequence[Mapping[str, Any]], name: str, title: str, color: str) -> Markup:
    """A rate of the bins over time; pauses between attempts are gaps with their length in them."""
    figure, axes = new_figure()
    axis = _Axis.of(spans)
    for span, offset in zip(spans, axis.offsets, strict=True):
        edges = np.array(span["bins"]["edges"]) - offset
        axes.stairs(span["bins"][name], edges, fill=True, color=color, alpha=0.35)
        axes.stairs(span["bins"][name], edges, color=color, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, axis.width)
    for left, right, pause in axis.gaps:
        axes.axvspan(left, right, facecolor="#eef0f3", edgecolor="#c5ccd6", hatch="///", zorder=0)
        if right - left > 0.03 * axis.width:
            axes.text(
                (left + right) / 2, 0.5, duration(pause), transform=axes.get_xaxis_transform(),
                rotation=90, ha="center", va="center", fontsize=9,
            )  # fmt: skip
    ticks = _ticks(spans, axis)
    axes.set_xticks([place for place, _ in ticks], [words for _, words in ticks])
    axes.set_xlabel("time of day, UTC")
    return inline_svg(figure, title)


def _ticks(spans: Sequence[Mapping[str, Any]], axis: _Axis) -> list[tuple[float, str]]:
    """Places and times of day: of attempts, or of even steps where there is one attempt alone."""
    if len(spans) == 1:
        times = np.linspace(spans[0]["began"], spans[0]["ended"], _TICKS)
        step = times[1] - times[0]
        return [(time - axis.offsets[0], _time_of_day(time, step)) for time in times]
    found: list[tuple[float, str]] = []
    for span, offset in zip(spans, axis.offsets, strict=True):
        place = span["began"] - offset
        if not found or place - found[-1][0] > axis.width / _TICKS:
            found.append((place, _time_of_day(span["began"], axis.width / _TICKS)))
    return found


def _time_of_day(seconds: float, step: float) -> str:
    """A time with as many digits as tell it from another one that is `step` seconds away."""
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    if step > 5 * 60:
        return f"{time:%H:%M}"
    parts = next((digits for digits in range(_MOST_DIGITS) if step >= 10**-digits), _MOST_DIGITS)
    return f"{time:%H:%M:%S.%f}"[: len("HH:MM:SS") + (parts and parts + 1)]


def score_histogram(scores: Mapping[str, Any], low: float) -> Markup:
    """How many labels have which score; those below `low` in another color."""
    figure, axes = new_figure()
    edges, counts = np.array(scores["edges"]), np.array(scores["counts"])
    colors = [COLORS[1] if edge < low else COLORS[0] for edge in edges[:-1]]
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colors, edgecolor="white")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("score")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return inline_svg(figure, "Histogram of scores")


def evaluated_views(counts: Sequence[int]) -> Markup:
    """Videos by the number of evaluated views; `counts` from one view on."""
    figure, axes = new_figure()
    axes.bar(np.arange(1, len(counts) + 1), counts, 0.9, color=COLORS[0])
    axes.set_xlim(0.4, len(counts) + 0.6)
    axes.set_xlabel("evaluated views")
    axes.xaxis.set_major_locator(MaxNLocator(len(counts), integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return inline_svg(figure, "Videos by the number of evaluated views")


def kept_by_position(stage: Mapping[str, Any], number: int) -> Markup:
    """A map of the frame with the share of views in which each position was kept."""
    shares = 100 * np.array(stage["by_position"])
    figure, axes = new_figure(*_SMALL)
    shown = axes.imshow(shares, cmap="viridis", vmin=0, interpolation="none", aspect="equal")
    figure.colorbar(shown, ax=axes, label="kept, %", shrink=0.8)
    for direction, count in ((axes.xaxis, shares.shape[1]), (axes.yaxis, shares.shape[0])):
        direction.set_ticks([0, count - 1], ["1", str(count)])
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    return inline_svg(figure, f"Share kept by position in the frame, pruning stage {number}")


def kept_by_time(stages: Sequence[Mapping[str, Any]]) -> Markup:
    """The share kept at each temporal position, a line per stage."""
    figure, axes = new_figure(*_SMALL)
    for number, stage in enumerate(stages, 1):
        slots = np.arange(1, len(stage["by_time"]) + 1)
        axes.plot(slots, 100 * np.array(stage["by_time"]), marker="o", label=f"stage {number}")
    axes.set_ylim(0, 103)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("temporal position")
    axes.set_ylabel("kept, %")
    axes.legend(frameon=False)
    return inline_svg(figure, "Share kept by temporal position")
