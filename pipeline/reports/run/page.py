"""report.html from the figures of report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline import formatting
from pipeline.formatting import digits, quantity
from pipeline.reports import settings
from pipeline.reports.html.figures import COLORS
from pipeline.reports.html.render import render
from pipeline.reports.run import plots


def page(figures: Mapping[str, Any], gallery: Sequence[Markup] = ()) -> str:
    """The page, whole.

    Args:
        figures: what `contents` gave.
        gallery: what the model looked at, video by video.
    """
    run = figures["run"]
    return render(
        "reports/run/report.html.j2",
        title=f"Run report: {run['architecture']} on {run['input']}",
        facts=_facts(run),
        cards=_cards(figures),
        rates=_rates(figures),
        scores=_scores(figures["labels"]),
        by_views=plots.evaluated_views(figures["early_exit"]["counts"])
        if figures["early_exit"]
        else None,
        kept=_kept(figures["kept_tokens"]),
        gallery=gallery,
        formatting=formatting,
        settings=settings,
        **figures,
    )


def _facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was labeled with what, by name; without what is not known."""
    facts = {
        "Input": run["input"],
        "Output": run["output"],
        "Model": run["architecture"],
        "Checkpoint": run["checkpoint"],
        "Classes": run["classes"] or None,
        "Pruning": settings.pruning(run),
        "Protocol": settings.protocol(run),
        "Code": run["code"],
        "Device": settings.device(run),
        "Begun": formatting.moment(run["created"]),
        "Finished": formatting.moment(run["finished"]),
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]


def _cards(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it is, what to add) of the most important figures."""
    totals, run = figures["totals"], figures["run"]
    failed = f"{totals['failed']:,} failed"
    if run["units_are"] == "segments":
        of = formatting.counted(totals["units"], "segments")
        failed += f"; {totals['units_failed']:,} of {of} failed"
    cards = [
        (f"{totals['ok']:,}", "videos labeled", failed),
        (
            f"{digits(totals['video_hours'], 4)} h",
            "of video",
            formatting.counted(totals["views"], "views"),
        ),
        (quantity(totals["flops"]), "FLOPs", _saved(figures)),
        (formatting.duration(totals["device_s"]), *_device_time(totals)),
        (formatting.duration(totals["decode_core_s"]), "decode core time", ""),
        (formatting.byte_size(totals["bytes_read"]), "read", ""),
    ]
    if totals["wall_s"] is not None:
        attempts = "1 attempt" if totals["attempts"] == 1 else f"{totals['attempts']:,} attempts"
        cards.append((formatting.duration(totals["wall_s"]), "wall time", f"of {attempts}"))
    return cards + _quality_cards(figures) + _cost_cards(figures["cost"])


def _saved(figures: Mapping[str, Any]) -> str:
    totals, early_exit = figures["totals"], figures["early_exit"]
    if early_exit is not None:
        return f"{100 * early_exit['share_of_unpruned']:.1f} % of all views unpruned"
    if totals["flops_share"] is None:
        return ""
    if totals["flops"] == totals["flops_unpruned"]:
        return "the unpruned model's"
    return f"{100 * totals['flops_share']:.1f} % of unpruned"


def _device_time(totals: Mapping[str, Any]) -> tuple[str, str]:
    if totals["on_gpu"] is None:
        return "device time", "of the labelers"
    return ("GPU time", "") if totals["on_gpu"] else ("device time", "of labelers on CPUs")


def _quality_cards(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    accuracy, shadow = figures["accuracy"], figures["shadow"]
    cards = []
    if accuracy:
        about = f"of {formatting.counted(accuracy['judged'], 'videos')} with a true label"
        cards.append(
            (f"{100 * accuracy['share']:.1f} %", "right", f"{_interval(accuracy)} {about}")
        )
    if figures["unknown_ground_truths"]:
        unknown = formatting.counted(figures["unknown_ground_truths"], "videos")
        cards.append((unknown, "not scored", "the true label is no class of the model"))
    if shadow and shadow["share"] is not None:
        about = f"of {formatting.counted(shadow['count'], figures['run']['labels_are'])}"
        compared = shadow["compared"] if figures["early_exit"] else "as unpruned"
        cards.append(
            (
                f"{100 * shadow['share']:.1f} %",
                f"same label {compared}",
                f"{_interval(shadow)} {about} in the shadow sample",
            )
        )
    return cards


def _interval(estimate: Mapping[str, Any]) -> str:
    return f"({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"


def _cost_cards(cost: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    if cost is None:
        return []
    currency = cost["currency"]
    cards = [
        (formatting.money(cost["rows"], currency), "what the work took", "by the time of all rows")
    ]
    if cost["reserved"] is not None:
        cards.append(
            (
                formatting.money(cost["reserved"], currency),
                "what the cluster cost",
                "attempts x wall time",
            )
        )
    return cards


def _rates(figures: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    spans, things = figures["throughput"]["spans"], figures["run"]["units_are"]
    if not spans:
        return []
    title = f"{things.capitalize()} labeled per second"
    hours = "Video-hours labeled per hour"
    return [
        (title, plots.rate_over_time(spans, "units_per_s", title, COLORS[0])),
        (hours, plots.rate_over_time(spans, "video_hours_per_hour", hours, COLORS[2])),
    ]


def _scores(labels: Mapping[str, Any]) -> Markup | None:
    if not labels["count"]:
        return None
    return plots.score_histogram(labels["scores"], labels["low_confidence"]["below"])


def _kept(kept: Mapping[str, Any] | None) -> list[tuple[str, Markup]]:
    """(caption, plot) of every stage, and of time."""
    if kept is None:
        return []
    shown = [
        (
            f"Stage {number}: {100 * stage['share']:.1f} % of {stage['grid'][0]} x "
            f"{stage['grid'][1]} x {stage['grid'][2]} tokens kept",
            plots.kept_by_place(stage, number),
        )
        for number, stage in enumerate(kept["stages"], 1)
    ]
    return [*shown, ("Share kept by time slot", plots.kept_by_slot(kept["stages"]))]
