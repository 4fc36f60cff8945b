"""Plots of an evaluation: accuracy against FLOPs and time, and differences beside the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.lab.baselines.shares import METHODS
from pipeline.lab.evaluation.paper_agreement import of_kind
from pipeline.lab.evaluation.results import EvaluationResults, VariantResult
from pipeline.lab.evaluation.variants import DEFAULT, RANDOM, UNPRUNED
from pipeline.reports.html.figures import COLORS, inline_svg, new_figure
from pipeline.reports.html.report import Plot
from pipeline.statistics import Estimate

_STA, _RANDOM, _DENSE, _OTHERS, _PAPER = (
    COLORS[0],
    COLORS[1],
    "#1c2430",
    "#9aa3ad",
    COLORS[2],
)

_METHOD_COLORS = {
    DEFAULT: _STA,
    RANDOM: _RANDOM,
    "tome": COLORS[2],
    "tome-plain": COLORS[3],
    "rlt": COLORS[5],
    "sta-merged": COLORS[4],
}

_SHARES = " The dotted line is the Pareto front: no variant is cheaper and as accurate."


def plots(found: EvaluationResults) -> list[Plot]:
    """All of them, in their order."""
    made = [
        Plot(
            _against(
                found,
                _gflops,
                "GFLOPs per view",
                "Accuracy against FLOPs",
            ),
            "Accuracy of the mean over all views, against FLOPs. Bars are 95 % intervals over "
            "videos; lines join a method's points." + (_SHARES if found.shares else ""),
        ),
        Plot(
            _against(found, _ms, "device time per view, ms", "Accuracy against measured time"),
            f"The same against measured device time ({found.device}). What else the machine did "
            "meanwhile is included.",
        ),
    ]
    differences = _differences(found)
    if differences is not None:
        made.append(differences)
    return made


def _gflops(each: VariantResult) -> Estimate:
    value = each.flops / 1e9
    return Estimate(value, value, value, each.top1.count)


def _ms(each: VariantResult) -> Estimate:
    return each.ms


def _against(
    found: EvaluationResults,
    cost: Callable[[VariantResult], Estimate],
    axis: str,
    title: str,
) -> Markup:
    return inline_svg(figure_against(found, cost, axis), title)


def figure_against(
    found: EvaluationResults, cost: Callable[[VariantResult], Estimate], axis: str
) -> Figure:
    """Accuracy against a cost, named by `axis`; every variant is drawn at its true cost."""
    figure, axes = new_figure(height=4.0 if found.shares else 3.4)
    variants = [each.variant for each in found.results]
    curves = {kind: {v.name for v in of_kind(variants, kind)} for kind in (DEFAULT, RANDOM)}
    for variant in variants:
        if variant.method is not None:
            curves.setdefault(variant.method, set()).add(variant.name)
    joined = {name for names in curves.values() for name in names} | {UNPRUNED}
    others = [each for each in found.results if each.variant.name not in joined]
    _points(axes, others, cost, bars=False, fmt="x", color=_OTHERS, label="other switches")
    for kind, names in reversed(curves.items()):
        line = [each for each in found.results if each.variant.name in names]
        line.sort(key=lambda each: each.flops)
        color, label = _METHOD_COLORS.get(kind, _OTHERS), METHODS.get(kind, "RLT, threshold")
        _points(axes, line, cost, fmt="o-", color=color, label=label)
    dense = [each for each in found.results if each.variant.name == UNPRUNED]
    _points(axes, dense, cost, fmt="s", color=_DENSE, label="no pruning")
    if found.shares:
        best = pareto_front(
            [cost(each).value for each in found.results],
            [each.top1.value for each in found.results],
        )
        axes.step(
            [cost(found.results[place]).value for place in best],
            [100 * found.results[place].top1.value for place in best],
            where="post",
            color=_DENSE,
            linewidth=0.8,
            linestyle=":",
            label="Pareto front",
        )
    axes.set_xlim(left=0)
    axes.set_xlabel(axis)
    axes.set_ylabel("accuracy, %")
    axes.grid(axis="y", color="#e6e9ee")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Places of what nothing else beats, by rising cost: no other costs less and is as good."""
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -values[place])):
        if not front or values[place] > values[front[-1]]:
            front.append(place)
    return front


def _points(
    axes: Any,
    figures: Sequence[VariantResult],
    cost: Callable[[VariantResult], Estimate],
    *,
    bars: bool = True,
    **style: Any,
) -> None:
    if not figures:
        return
    x, y = [cost(each) for each in figures], [each.top1 for each in figures]
    axes.errorbar(
        [each.value for each in x],
        [100 * each.value for each in y],
        xerr=_bars(x, 1.0) if bars else None,
        yerr=_bars(y, 100.0) if bars else None,
        capsize=2,
        elinewidth=1,
        **style,
    )


def _bars(estimates: Sequence[Estimate], scale: float) -> Any:
    """(2, n) lengths of the bars below and above."""
    return scale * np.array(
        [
            [each.value - each.low for each in estimates],
            [each.high - each.value for each in estimates],
        ]
    )


def _differences(found: EvaluationResults) -> Plot | None:
    """Every line of the tables with a difference, ours with its interval, and the paper's."""
    lines = [line for table in found.tables for line in table.lines if line.difference is not None]
    if not lines:
        return None
    figure, axes = new_figure(height=1.4 + 0.3 * len(lines))
    places = np.arange(len(lines))[::-1]
    axes.axvline(0, color="#5b6675", linewidth=1)
    for series, offset, style in (
        ([line.difference for line in lines], 0.14, {"color": _STA, "label": "mean of all views"}),
        (
            [line.view_difference for line in lines],
            -0.14,
            {"color": COLORS[4], "label": "single views", "markersize": 4},
        ),
    ):
        ours = [each for each in series if each is not None]
        x = [100 * each.value for each in ours]
        axes.errorbar(
            x, places + offset, xerr=_bars(ours, 100.0), fmt="o", capsize=2, elinewidth=1, **style
        )
    known = [
        (place, line.expected) for place, line in zip(places, lines, strict=True) if line.paper
    ]
    given = [(place, expected) for place, expected in known if expected is not None]
    if given:
        axes.plot(
            [expected for _, expected in given],
            [place for place, _ in given],
            "D",
            color=_PAPER,
            markersize=5,
            label="paper, ViT-L, all views",
        )
    axes.set_yticks(places, [found.about(line.variant) for line in lines])
    axes.set_ylim(-0.7, len(lines) - 0.3)
    axes.set_xlabel("difference in accuracy, points")
    axes.grid(axis="x", color="#e6e9ee")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=1, frameon=False)
    return Plot(
        inline_svg(figure, "Differences beside the paper's"),
        "Difference to the variant that each table compares with (STA as it is by default, the "
        "decreasing schedule, STA at the same r), over the same videos, with 95 % intervals; and "
        "the paper's.",
    )
