"""Plots as SVG within a page: one look, narrow enough for a phone."""

from __future__ import annotations

import io
import math
import re
import warnings
from typing import Any

import matplotlib
from cycler import cycler
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from sta.text import displayed

# Distinguishable with color blindness (Paul Tol's bright scheme).
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")

_WIDTH, _HEIGHT = 5.2, 3.0
_FEWEST_TICKS, _MOST_TICKS = 3, 7
_STYLE: Any = {
    "svg.fonttype": "none",  # words stay words: they are found, read aloud and copied
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.parse_math": False,  # a dollar sign is one, in names and in currencies
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
}


def new_figure(width: float = _WIDTH, height: float = _HEIGHT) -> tuple[Figure, Any]:
    """An empty figure (inches) and its axes."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
    return figure, axes


def log_axis(axes: Any, which: str, low: float, high: float) -> None:
    """Makes an axis logarithmic, with three to seven ticks from `low` to `high` as plain numbers.

    Args:
        axes: whose axis.
        which: "x" or "y".
        low: least of the values, above 0.
        high: greatest of them.
    """
    axis = getattr(axes, f"{which}axis")
    getattr(axes, f"set_{which}scale")("log")
    ticks = log_ticks(low, high)
    axis.set_ticks(ticks, [f"{tick:,.12g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`: 1, 2 and 5 times powers of ten, fewer of them where these
    are many, and evenly spread numbers of two digits where these are few.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    closest = ((1, (1, 2, 5)), (1, (1, 3)), (1, (1,)))
    for step, factors in (*closest, *((step, (1,)) for step in range(2, len(powers) + 1))):
        ticks = [
            float(f"{factor}e{power}")
            for power in powers
            if power % step == 0
            for factor in factors
            if low <= float(f"{factor}e{power}") <= high
        ]
        if len(ticks) <= _MOST_TICKS:
            break
    if len(ticks) >= _FEWEST_TICKS:
        return ticks
    ratio = high / low
    spread = (low * ratio ** (at / _FEWEST_TICKS) for at in range(_FEWEST_TICKS + 1))
    return sorted({float(f"{tick:.2g}") for tick in spread})


def inline_svg(figure: Figure, title: str) -> Markup:
    """The figure as an <svg> element of full width; `title` is its accessible name."""
    out, title = io.StringIO(), displayed(title)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # what was made after the figure does not have its style
        text.set_text("\n".join(map(displayed, text.get_text().split("\n"))))
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has letters that no font here has.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": title})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = str(Markup.escape(title))
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
