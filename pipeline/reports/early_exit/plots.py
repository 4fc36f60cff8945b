"""The plots of the calibration's report."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from pipeline.early_exit.calibrate import Calibration
from pipeline.early_exit.cross_validation import Resampled
from pipeline.reports.html.figures import COLORS, inline_svg, log_axis, new_figure

_BLUE, _RED, _GREEN = COLORS[0], COLORS[1], COLORS[2]


def curve(found: Calibration) -> Markup:
    """Agreement against the share of the FLOPs, with lower bounds and the guarantee."""
    points = found.file.curve
    flops = np.array([100 * point.views / found.views for point in points])
    agreement, low = (
        np.array([100 * getattr(point, name) for point in points]) for name in ("agreement", "low")
    )
    figure, axes = new_figure()
    axes.plot(flops, agreement, color=_BLUE, label="found")
    axes.fill_between(flops, low, agreement, color=_BLUE, alpha=0.2, linewidth=0)
    guarantee = 100 * found.guarantee.agreement
    axes.axhline(guarantee, color=_RED, linestyle="--", linewidth=1, label="guaranteed")
    point = found.file.point
    axes.plot(
        100 * found.flops_share, 100 * point.agreement, "o", color=_GREEN, label="chosen", zorder=3
    )
    log_axis(axes, "x", 0.8 * flops.min(), 100)
    axes.set_ylim(top=100 + 0.05 * (100 - low.min()))
    axes.set_xlabel("share of the FLOPs of all views, %")
    axes.set_ylabel("label of all views, %")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return inline_svg(figure, "Agreement against share of FLOPs")


def views_needed(found: Calibration) -> Markup:
    """How many videos need how many views."""
    counts = np.bincount(found.used, minlength=found.views + 1)[1:]
    figure, axes = new_figure()
    axes.bar(range(1, found.views + 1), 100 * counts / counts.sum(), color=_BLUE)
    axes.set_xlabel("evaluated views")
    axes.set_ylabel("videos, %")
    ticks = sorted({1, *range(5, found.views, 5), found.views})
    axes.set_xticks(ticks if found.views > 6 else range(1, found.views + 1))
    axes.set_xlim(0.3, found.views + 0.7)
    return inline_svg(figure, "Views needed")


def resamplings(found: Resampled, guarantee: float) -> Markup:
    """Agreement on the half that was not fitted on, over all resamplings."""
    values = 100 * found.agreements
    figure, axes = new_figure()
    low, high = min(values.min(), 100 * guarantee), max(values.max(), 100 * guarantee)
    room = 0.08 * max(high - low, 0.1)
    bins = np.linspace(low - room, min(high + room, 100.0), 25)
    axes.hist(values, bins=bins, color=_BLUE, edgecolor="white")
    axes.axvline(100 * guarantee, color=_RED, linestyle="--", linewidth=1, label="guaranteed")
    axes.set_xlabel("label of all views on the other half, %")
    axes.set_ylabel("resamplings")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.locator_params(axis="x", nbins=6)
    axes.ticklabel_format(axis="x", useOffset=False)
    figure.legend(loc="outside upper center", frameon=False, fontsize=9)
    return inline_svg(figure, "Agreement on held-out halves")
