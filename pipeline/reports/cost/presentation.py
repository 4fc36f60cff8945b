"""Tiles and tables of a cost report, the same for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline import formatting
from pipeline.reports.cost.compare import RunComparison, RunFigures
from pipeline.reports.cost.cost_tables import cluster_table, work_table
from pipeline.reports.cost.labels import SHOWN, Agreement
from pipeline.reports.cost.layout import Cell, Number, by_run
from pipeline.reports.html.report import Table, Tile
from pipeline.run.devices import device_words
from pipeline.statistics import Estimate


def tables(found: RunComparison) -> list[Table]:
    """All tables of the report, in their order."""
    made = [work_table(found), cluster_table(found), _labels(found)]
    return made + [_differing(each) for each in found.runs if _has_differing(each)]


def headline(found: RunComparison) -> list[Tile]:
    """What a reader wants to know first: the videos, then each run but the reference."""
    shared, every = len(found.shared.ids), found.shared.all
    tiles = [Tile(f"{shared:,}", "videos labeled by every run", f"of {every:,} in any of them")]
    for each in found.runs:
        if each is found.reference:
            continue
        name = each.run.name
        if each.difference is not None:
            value, interval = each.difference.points().split(" points ")
            tiles.append(Tile(f"{value} points", "difference in accuracy", f"{interval}, {name}"))
        if each.agreement is not None:
            value, interval = each.agreement.top1.percent().split(" % ")
            tiles.append(Tile(f"{value} %", "same label", f"{interval}, {name}"))
        for what, number in _compared(found):
            whole = number(found.reference)
            if whole:
                share = formatting.percent(number(each), whole)
                tiles.append(Tile(share, f"of the {what}", name))
    return tiles


def _compared(found: RunComparison) -> list[tuple[str, Number]]:
    work: list[tuple[str, Number]] = [
        ("FLOPs", lambda each: each.rows.shared.flops),
        ("device time", lambda each: each.rows.shared.device_s),
    ]
    if found.prices is None:
        return [*work, ("wall time per video", lambda each: each.held.wall_s / each.rows.ok)]
    return [
        ("cost of the work", lambda each: each.work_cost.total if each.work_cost else 0.0),
        ("cost of the cluster per video", lambda each: (each.cluster.cost or 0.0) / each.rows.ok),
        *work,
    ]


def configuration(found: RunComparison) -> Table:
    """What each run was."""
    return by_run(
        found,
        "Configuration",
        [
            ("Model", lambda each: each.run.record.model.architecture),
            ("Pruning", lambda each: each.run.pruning),
            ("Protocol", _protocol),
            ("Device", _device),
            ("Videos labeled", lambda each: f"{each.rows.ok:,} of {each.rows.whole.videos:,}"),
            ("Lies in", lambda each: each.run.uri),
        ],
    )


def _protocol(each: RunFigures) -> str:
    protocol = each.run.identity.protocol
    every = f", every {protocol.every_s:g} s" if each.run.has_segments else ""
    return f"{protocol.name}, {protocol.clips}x{protocol.crops}{every}"


def _device(each: RunFigures) -> str | None:
    return device_words(each.run.record)


def _labels(found: RunComparison) -> Table:
    def of(said: Callable[[Agreement], str]) -> Cell:
        return lambda each: None if each.agreement is None else said(each.agreement)

    def of_shadow(said: Callable[[Agreement], str]) -> Cell:
        return lambda each: None if each.shadow is None else said(each.shadow)

    rows: list[tuple[str, Cell]] = [
        ("Same label as the reference", of(lambda a: percent_or_unknown(a.top1))),
        ("Overlap of the top 5", of(lambda a: percent_or_unknown(a.top5))),
        ("Divergence of the scores", of(lambda a: _bits(a.divergence))),
        ("Compared", of(lambda a: _compared_count(a))),
        ("Accuracy", lambda e: None if e.accuracy is None else percent_or_unknown(e.accuracy)),
        (
            "Difference in accuracy to the reference",
            lambda e: None if e.difference is None else e.difference.points(),
        ),
        ("Videos with ground truth", lambda e: f"{e.accuracy.count:,}" if e.accuracy else None),
        ("Shadow sample: same label", of_shadow(lambda a: percent_or_unknown(a.top1))),
        ("Shadow sample: overlap of the top 5", of_shadow(lambda a: percent_or_unknown(a.top5))),
        ("Shadow sample: divergence", of_shadow(lambda a: _bits(a.divergence))),
        ("Shadow sample", of_shadow(lambda a: _compared_count(a))),
    ]
    about = (
        f"The reference is {found.reference.run.name} ({found.reference.run.pruning}). In "
        f"brackets: 95 % intervals. The divergence is Jensen and Shannon's: 0 for equal scores, 1 "
        f"bit at the most."
    )
    return by_run(found, "Labels", rows, about)


def _compared_count(each: Agreement) -> str:
    if each.compared == "videos":
        return f"{each.units:,} videos"
    return f"clips of {each.units:,} segments, which are drawn whole for the intervals"


def _has_differing(each: RunFigures) -> bool:
    return each.agreement is not None and bool(each.agreement.differing)


def _differing(each: RunFigures) -> Table:
    assert each.agreement is not None
    rows = tuple(
        (
            one.video_id if one.start_s is None else f"{one.video_id} from {one.start_s:g} s",
            f"{one.divergence:.3f}",
            f"{one.reference_label} ({one.reference_score:.0%})",
            f"{one.label} ({one.score:.0%})",
            one.ground_truth or "–",
        )
        for one in each.agreement.differing
    )
    return Table(
        ("Video", "Bits", "Reference", "This run", "Ground truth"),
        rows,
        f"Where {each.run.name} differs most",
        f"Up to {SHOWN} units: those with another label first, then the others, each by the "
        f"divergence of the scores from the reference's.",
    )


def percent_or_unknown(estimate: Estimate | None) -> str:
    """Percent with its interval."""
    if estimate is None or not estimate.count:
        return formatting.UNKNOWN
    return estimate.percent()


def _bits(estimate: Estimate | None) -> str:
    if estimate is None or not estimate.count:
        return formatting.UNKNOWN
    return f"{estimate.value:.4f} bits ({estimate.low:.4f} to {estimate.high:.4f})"


def distribution(each: RunFigures) -> dict[str, float]:
    """Quantiles of the cost per shared video."""
    quantiles = {"median": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
    values = np.quantile(each.per_video, list(quantiles.values()))
    return dict(zip(quantiles, map(float, values), strict=True))
