"""The report of a calibration, as a self-contained page."""

from __future__ import annotations

from pipeline.early_exit.calibrate import Calibration
from pipeline.formatting import digits
from pipeline.reports.early_exit import methodology as words
from pipeline.reports.early_exit import plots
from pipeline.reports.html.render import render


def page(found: Calibration, command: str) -> str:
    """The page as HTML.

    Args:
        found: the threshold and the evidence for it.
        command: the labeling command that uses the threshold.
    """
    return render(
        "reports/early_exit/report.html.j2",
        title=f"Calibration: how many views {found.architecture} needs",
        facts=_facts(found),
        cards=_cards(found),
        command=command,
        agreement=words.percent(found.guarantee.agreement),
        confidence=words.percent(found.guarantee.confidence),
        views=found.views,
        curve=plots.curve(found),
        needed=plots.views_needed(found),
        resamplings=None
        if found.resampled is None
        else plots.resamplings(found.resampled, found.guarantee.agreement),
        held_out=words.held_out(found),
        resampled=words.resampled(found),
        accuracy=None if found.accuracy is None else words.accuracy(found),
    )


def _facts(found: Calibration) -> list[tuple[str, str]]:
    file = found.file
    failed = f"; {found.failed:,} more could not be labeled" if found.failed else ""
    return [
        ("Model", words.model(found)),
        ("Weights", file.model),
        ("Fitted on", f"{file.videos:,} videos of {file.source}{failed}"),
        ("Guarantee", words.guarantee(found)),
        ("Threshold", digits(file.threshold, 6)),
    ]


def _cards(found: Calibration) -> list[tuple[str, str, str]]:
    """(figure, what it is, what to add)."""
    point = found.file.point
    cards = [
        (f"{digits(100 * found.flops_share)} %", "of the FLOPs", "of all views"),
        (f"{digits(point.views)}", "views per video", f"of {found.views}"),
        (
            words.percent(point.agreement),
            "keep the label of all views",
            f"{words.percent(point.low)} at least",
        ),
    ]
    if found.held_out is not None:
        each = found.held_out.agreement
        cards.append(
            (f"{100 * each.value:.1f} %", "on videos not fitted on", f"of {each.count:,} videos")
        )
    if found.resampled is not None:
        each_of = f"of {found.resampled.count} random halves"
        cards.append((f"{found.resampled.kept}", "meet the guarantee", each_of))
    return cards
