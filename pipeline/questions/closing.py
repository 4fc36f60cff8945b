"""The plot of intervals after each round."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.formatting import quantity
from pipeline.questions.answer import Estimated, named
from pipeline.questions.question import Kind
from pipeline.reports.html.figures import COLORS, inline_svg, new_figure
from pipeline.reports.html.report import Plot


def closing(
    kind: Kind,
    counts: Sequence[int],
    flops: Sequence[int],
    rounds: Sequence[tuple[Estimated, ...]],
    *,
    units_are: str,
    column: str | None = None,
    is_difference: bool = False,
) -> Plot:
    """The plot of the numbers of all units, or of the groups where there are none.

    Args:
        kind: of the question.
        counts: (rounds,) units of the reference after each round.
        flops: (rounds,) multiply-accumulates after each round.
        rounds: the numbers after each round, the same in each.
        units_are: what the units are called.
        column: of a question for a mean; None otherwise.
        is_difference: whether the numbers are differences.
    """
    figure, axes = new_figure()
    scale = 100 if kind == "share" else 1
    places = [place for place, each in enumerate(rounds[0]) if not each.group]
    places = (places or list(range(len(rounds[0]))))[: len(COLORS)]
    for color, place in zip(COLORS, places, strict=False):
        series = [numbers[place] for numbers in rounds]
        factor = [scale * (each.units if kind == "count" else 1) for each in series]
        known = [
            row
            for row, each in enumerate(series)
            if math.isfinite(each.low) and math.isfinite(each.high)
        ]
        if not known:
            continue
        x = [counts[row] for row in known]
        low, value, high = (
            [factor[row] * getattr(series[row], end) for row in known]
            for end in ("low", "value", "high")
        )
        axes.fill_between(x, low, high, alpha=0.2, color=color, linewidth=0)
        axes.plot(x, value, marker="o", color=color, label=named(series[0]))
    if is_difference:
        axes.axhline(0, color="gray", linewidth=0.8)
    axes.set_xlabel(f"{units_are} by the reference")
    axes.set_ylabel(_label(kind, column, is_difference=is_difference))
    cost = axes.secondary_xaxis("top")
    cost.set_xticks(counts, [quantity(each) for each in flops], rotation=45)
    cost.set_xlabel("FLOPs so far")
    if len(places) > 1:
        axes.legend(frameon=False)
    words = f"{'Difference' if is_difference else 'Estimate'} and interval after each round"
    return Plot(inline_svg(figure, words), f"{words}; the band holds for all rounds at once.")


def _label(kind: Kind, column: str | None, *, is_difference: bool) -> str:
    units = {"share": "%", "rate": "per hour"}.get(kind, "")
    name = f"mean of {column}" if kind == "mean" else kind
    if is_difference:
        name, units = "difference", {"%": "points"}.get(units, units)
    return f"{name}, {units}" if units else name
