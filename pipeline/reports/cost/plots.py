"""Plots of a cost report."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pipeline.reports.cost.compare import RunComparison, RunFigures
from pipeline.reports.html.figures import COLORS, inline_svg, log_axis, new_figure
from pipeline.reports.html.report import Plot
from pipeline.statistics import Estimate

_MOST_BINS = 40
# Costs that span more than so many times their least are shown on a logarithmic axis.
_WIDE = 10
_HELD = ("decoding", "labeling", "shadow sample", "idle, overhead")
_HELD_COLORS = (COLORS[4], COLORS[0], COLORS[3], "#dddddd")


def plots(found: RunComparison) -> list[Plot]:
    """All of them, in their order."""
    made = [_quality(found), _time(found, "cores")]
    if any(each.held.gpu_s for each in found.runs):
        made.append(_time(found, "GPUs"))
    made.append(_distribution(found))
    return [plot for plot in made if plot is not None]


def _quality(found: RunComparison) -> Plot | None:
    """Accuracy where ground truth is given, else agreement with the reference, against cost."""
    judged = found.reference.accuracy is not None
    figure, axes = new_figure()
    shown = False
    for number, each in enumerate(found.runs):
        estimate = each.accuracy if judged else _agreement(each, found)
        if estimate is None or not estimate.count:
            continue
        shown = True
        color = COLORS[number % len(COLORS)]
        x, y = _cost(each, found), 100 * estimate.value
        errors = [[y - 100 * estimate.low], [100 * estimate.high - y]]
        axes.errorbar(x, y, yerr=errors, fmt="o", capsize=3, color=color, label=_label(each))
    if not shown:
        return None
    axes.set_xlim(left=0, right=1.2 * max(_cost(each, found) for each in found.runs))
    axes.set_ylabel("accuracy, %" if judged else "same label, %")
    axes.set_xlabel(_cost_axis(found))
    _legend(figure, columns=1)
    what = "Accuracy" if judged else "Agreement with the reference"
    return Plot(
        inline_svg(figure, f"{what} against cost"),
        f"{what} against the cost of the work on the shared videos; bars are 95 % intervals.",
    )


def _agreement(each: RunFigures, found: RunComparison) -> Estimate | None:
    if each is found.reference:
        return Estimate(1.0, 1.0, 1.0, each.rows.shared.videos)
    return None if each.agreement is None else each.agreement.top1


def _cost(each: RunFigures, found: RunComparison) -> float:
    work = each.rows.shared
    if found.prices is not None and each.work_cost is not None:
        return 1000 * each.work_cost.total / work.videos
    return work.flops / work.videos / 1e9


def _cost_axis(found: RunComparison) -> str:
    if found.prices is not None:
        return f"{found.prices.currency} per 1,000 videos"
    return "GFLOPs per video"


def _time(found: RunComparison, what: str) -> Plot:
    """Where the time of cores or of GPUs went, of what each run held."""
    figure, axes = new_figure(height=1.3 + 0.55 * len(found.runs))
    parts = np.array([_held(each, what) for each in found.runs]) / 3600
    scale, unit = (1.0, "hours") if parts.sum(axis=1).max() >= 1 else (60.0, "minutes")
    left = np.zeros(len(found.runs))
    for column, name, color in zip(parts.T * scale, _HELD, _HELD_COLORS, strict=True):
        if column.any():
            axes.barh(range(len(found.runs)), column, left=left, label=name, color=color)
            left += column
    names = [_label(each).replace(" (", "\n(") for each in found.runs]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"{what[:-1].replace('core', 'Core')} {unit} held by the whole run")
    _legend(figure, columns=4)
    return Plot(
        inline_svg(figure, f"Where the time of {what} went"),
        f"Where the time went: what each whole run held of {what}, and what for.",
    )


def _held(each: RunFigures, what: str) -> tuple[float, ...]:
    """Seconds of decoding, labeling, shadow sample and the rest."""
    rows = each.rows
    labeling, shadow = rows.whole_used.labeling, rows.whole_shadow
    if what == "cores":
        return (
            rows.whole.decode_s,
            labeling.core_s,
            shadow.core_s,
            max(0.0, each.cluster.idle_core_s),
        )
    return 0.0, labeling.gpu_s, shadow.gpu_s, max(0.0, each.cluster.idle_gpu_s)


def _distribution(found: RunComparison) -> Plot | None:
    """How the cost of a video is spread over the shared videos."""
    scale = 1000.0 if found.prices is not None else 1.0
    every = [each.per_video[each.per_video > 0] * scale for each in found.runs]
    values = np.concatenate(every)
    if not len(values):
        return None
    low, high = 0.95 * float(values.min()), 1.05 * float(values.max())
    wide = high > _WIDE * low
    bins = int(np.clip(2 * np.sqrt(len(every[0])), 8, _MOST_BINS))
    edges = np.geomspace(low, high, bins + 1) if wide else np.linspace(low, high, bins + 1)
    figure, axes = new_figure()
    for number, (each, costs) in enumerate(zip(found.runs, every, strict=True)):
        color = COLORS[number % len(COLORS)]
        axes.hist(costs, bins=edges, histtype="stepfilled", alpha=0.25, color=color)
        axes.hist(costs, bins=edges, histtype="step", color=color, label=_label(each))
    if wide:
        log_axis(axes, "x", low, high)
    else:
        axes.locator_params(axis="x", nbins=5)
    money = found.prices is not None
    axes.set_xlabel(_cost_axis(found) if money else "device and core seconds per video")
    axes.set_ylabel("videos")
    axes.yaxis.get_major_locator().set_params(integer=True)
    _legend(figure, columns=1)
    return Plot(
        inline_svg(figure, "Distribution of cost per video"),
        "How the cost of the work is spread over the shared videos.",
    )


def _legend(figure: Figure, *, columns: int) -> None:
    """Above the axes, where it covers nothing."""
    figure.legend(loc="outside upper center", ncols=columns, frameon=False, fontsize=8)


def _label(each: RunFigures) -> str:
    # A legend leaves out what begins with an underscore.
    name = each.run.name.split("/")[-1].lstrip("_") or "run"
    return f"{name} ({each.run.pruning})"
