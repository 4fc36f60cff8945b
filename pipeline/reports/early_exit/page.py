"""The report of a calibration, as a self-contained page."""

from __future__ import annotations

from pipeline.early_exit.calibrate import Calibration
from pipeline.formatting import digits
from pipeline.reports.early_exit import methodology as words
from pipeline.reports.early_exit import plots
from pipeline.reports.html.report import (
    Block,
    Code,
    Facts,
    Plot,
    Plots,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    report_page,
)


def page(found: Calibration, command: str) -> str:
    """The page as HTML.

    Args:
        found: the threshold and the evidence for it.
        command: the labeling command that uses the threshold.
    """
    sections = [
        Section(_summary(found, command)),
        Section(_decoding(found), "Decoding"),
        Section(_curve(found), "Thresholds and views"),
        Section(_held_out(found), "On held-out videos"),
        Section([Facts(_facts(found))], "Configuration", folded=True),
    ]
    return report_page(f"Calibration: how many views {found.architecture} needs", sections)


def _summary(found: Calibration, command: str) -> list[Block]:
    blocks: list[Block] = [Tiles(_tiles(found))]
    if found.accuracy is not None:
        blocks.append(Text(f"Top-1 accuracy: {words.accuracy(found)}."))
    return [*blocks, Text("Label with this threshold:"), Code(command)]


def _decoding(found: Calibration) -> list[Block]:
    """The decode modes beside each other; nothing where exact decoding alone was measured."""
    if len(found.modes) == 1:
        return []
    rows = [
        (
            each.mode,
            f"{words.percent(each.all_views.agreement)} ({words.percent(each.all_views.low)})",
            "none" if each.chosen is None else digits(each.chosen.views),
            "" if each.chosen is None else words.percent(each.chosen.agreement),
            digits(each.decode_s),
            digits(each.label_s),
        )
        for each in found.modes
    ]
    table = Table(
        columns=(
            "--decode",
            "keep the label, all views (at least)",
            "views at the threshold",
            "keep the label there",
            "core-seconds to decode all clips",
            "device seconds for all views",
        ),
        rows=rows,
        numbers=True,
    )
    return [Text(words.comparison(found)), table]


def _curve(found: Calibration) -> list[Block]:
    guarantee = found.guarantee
    curve = Plot(
        plots.curve(found),
        f"Each point is a threshold, from one view per video on the left to all {found.views} on "
        f"the right. The shaded area ends at the exact lower bound at "
        f"{words.percent(found.tested.confidence)} confidence. Thresholds are tested from the "
        f"right; the last one before a bound below {words.percent(guarantee.agreement)} is chosen.",
    )
    needed = Plot(
        plots.views_needed(found),
        "Videos by the number of views evaluated at the chosen threshold.",
    )
    return [Plots([curve, needed])]


def _held_out(found: Calibration) -> list[Block]:
    said = (
        "The threshold in the file is fitted on all videos; these are fitted in the same way on "
        "half of them."
    )
    shown: list[Block] = []
    if found.resampled is not None:
        said += (
            " The other half is a sample too: a threshold whose agreement is exactly the "
            "guaranteed one would fall below it in about half of the resamplings."
        )
        caption = "Share of the other half that kept the label of all views, in each resampling."
        svg = plots.resamplings(found.resampled, found.guarantee.agreement)
        shown = [Plots([Plot(svg, caption)])]
    return [
        Text(f"Halves by a hash of the video: {words.held_out(found)}."),
        Text(f"Random halves: {words.resampled(found)}."),
        Text(said, soft=True),
        *shown,
    ]


def _facts(found: Calibration) -> list[tuple[str, str]]:
    file = found.file
    failed = f"; {found.failed:,} more could not be labeled" if found.failed else ""
    return [
        ("Model", words.model(found)),
        ("Weights", file.model),
        ("Fitted on", f"{file.videos:,} videos of {file.source}{failed}"),
        ("Guarantee", words.guarantee(found)),
        ("Threshold", digits(file.threshold, 6)),
        ("Decoding", f"--decode {file.decode}"),
    ]


def _tiles(found: Calibration) -> list[Tile]:
    point = found.file.point
    tiles = [
        Tile(
            words.percent(point.agreement),
            "keep the label of all views",
            f"{words.percent(point.low)} at least",
        ),
        Tile(f"{digits(100 * found.flops_share)} %", "of the FLOPs", "of all views"),
        Tile(digits(point.views), "views per video", f"of {found.views}"),
    ]
    if found.accuracy is not None:
        value, interval = found.accuracy.difference.points(places=2).split(" points ")
        tiles.append(Tile(f"{value} points", "difference in accuracy", interval))
    if found.held_out is not None:
        each = found.held_out.agreement
        value, interval = each.percent().split(" % ")
        note = f"{interval} of {each.count:,} videos"
        tiles.append(Tile(f"{value} %", "on held-out videos", note))
    if found.resampled is not None:
        each_of = f"of {found.resampled.count} random halves"
        tiles.append(Tile(f"{found.resampled.kept}", "meet the guarantee", each_of))
    return tiles
