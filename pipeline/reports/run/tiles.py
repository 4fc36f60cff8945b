"""Tiles at the top of the run report: labeled, failed, accuracy, cost, and what they took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.formatting import byte_size, clock, counted, duration, money, quantity
from pipeline.reports.html.report import Tile

Content = Mapping[str, Any]


def tiles(figures: Content) -> list[Tile]:
    """Labeled, failed, accuracy, cost; then what it took."""
    totals, run = figures["totals"], figures["run"]
    failed = f"of {counted(totals['videos'], 'videos')}"
    if run["units_are"] == "segments":
        of = counted(totals["units"], "segments")
        failed += f"; {totals['units_failed']:,} of {of} failed"
    made = [
        Tile(
            f"{totals['ok']:,}", "videos labeled", f"{clock(3600 * totals['video_hours'])} of video"
        ),
        Tile(f"{totals['failed']:,}", "videos failed", failed),
        *_accuracy_tiles(figures["accuracy"]),
        *_cost_tiles(figures["cost"]),
        *_agreement_tiles(figures),
        Tile(quantity(totals["flops"]), "FLOPs", _flops_note(figures)),
        Tile(duration(totals["device_s"]), *_device_time(totals)),
    ]
    if totals["wall_s"] is not None:
        count = totals["attempts"]
        attempts = "1 attempt" if count == 1 else f"{count:,} attempts"
        made.append(Tile(duration(totals["wall_s"]), "wall time", f"of {attempts}"))
    made.append(Tile(f"{totals['views']:,}", "views"))
    if run["relabeled"]:  # from embeddings: nothing was read or decoded
        return made
    return [
        *made,
        Tile(duration(totals["decode_core_s"]), "decoding, CPU time"),
        Tile(byte_size(totals["bytes_read"]), "read from storage"),
    ]


def _flops_note(figures: Content) -> str:
    totals, early_exit = figures["totals"], figures["early_exit"]
    if early_exit is not None:
        return f"{100 * early_exit['share_of_unpruned']:.1f} % of all views unpruned"
    if totals["flops_share"] is None:
        return ""
    if figures["run"]["relabeled"]:
        return "of the head, from stored embeddings"
    if totals["flops"] == totals["flops_unpruned"]:
        return "the unpruned model's"
    return f"{100 * totals['flops_share']:.1f} % of unpruned"


def _device_time(totals: Mapping[str, Any]) -> tuple[str, str]:
    if totals["on_gpu"] is None:
        return "device time", "of the labelers"
    return ("GPU time", "") if totals["on_gpu"] else ("device time", "of labelers on CPUs")


def _accuracy_tiles(accuracy: Mapping[str, Any] | None) -> list[Tile]:
    if not accuracy:
        return []
    about = f"of {counted(accuracy['judged'], 'videos')} with ground truth"
    return [Tile(percent(accuracy), "accuracy", f"{interval(accuracy)} {about}")]


def _agreement_tiles(figures: Content) -> list[Tile]:
    tiles, shadow = [], figures["shadow"]
    if shadow and shadow["share"] is not None:
        about = f"of {counted(shadow['count'], figures['run']['labels_are'])} in the shadow sample"
        compared = shadow["compared"] if figures["early_exit"] else "as unpruned"
        tiles.append(Tile(percent(shadow), f"same label {compared}", f"{interval(shadow)} {about}"))
    if figures["unknown_ground_truths"]:
        unknown = counted(figures["unknown_ground_truths"], "videos")
        tiles.append(Tile(unknown, "not scored", "the ground truth is no class of the model"))
    return tiles


def percent(estimate: Mapping[str, Any]) -> str:
    """The share of an estimate of report.json, such as `97.9 %`."""
    return f"{100 * estimate['share']:.1f} %"


def interval(estimate: Mapping[str, Any]) -> str:
    """Its 95 % interval, such as `(89.1 to 99.6)`."""
    return f"({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"


def _cost_tiles(cost: Mapping[str, Any] | None) -> list[Tile]:
    if cost is None:
        return []
    currency = cost["currency"]
    return [
        Tile(money(cost["work"], currency), "cost of the work", "by the time of all rows"),
        Tile(money(cost["cluster"], currency), "cost of the cluster", "busy or not, and reading"),
    ]
