"""report.html from the figures of report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.formatting import byte_size, counted, duration, money, quantity
from pipeline.reports import settings
from pipeline.reports.html.figures import COLORS
from pipeline.reports.html.report import (
    Block,
    Bullets,
    Elements,
    Facts,
    Heading,
    Plot,
    Plots,
    Section,
    Table,
    Text,
    Tiles,
    report_page,
)
from pipeline.reports.run import plots
from pipeline.reports.run.configuration import configuration, head_name
from pipeline.reports.run.drift_section import drift_blocks
from pipeline.reports.run.tiles import interval, percent, tiles
from sta.text import displayed

Content = Mapping[str, Any]

# Kinds of time that videos take, as columns name them.
_TIMES = {"decode": "decoding", "device": "device"}


def page(figures: Content, gallery: Sequence[Markup] = ()) -> str:
    """The page, whole.

    Args:
        figures: what `contents` gave.
        gallery: elements that show kept tokens, one per video.
    """
    run = figures["run"]
    sections = [
        _warning(figures),
        Section(_summary(figures)),
        Section(_throughput(figures), "Throughput"),
        Section(_failures(figures), "Failures"),
        Section(_labels(figures), "Labels"),
        Section(drift_blocks(figures["drift"]), "Drift"),
        Section(_early_exit(figures), "Evaluated views"),
        Section(_kept_tokens(figures), "Where tokens were kept, all videos"),
        Section([Elements(gallery)] if gallery else [], "Kept tokens of a few videos"),
        Section(_slowest(figures["slowest"]), "Slowest videos"),
        Section([Facts(configuration(run))], "Configuration", folded=True),
    ]
    head = f" with head {head_name(run['head'])}" if run["head"] else ""
    return report_page(f"Run report: {run['architecture']}{head} on {run['input']}", sections)


def _warning(figures: Content) -> Section:
    shadow = figures["shadow"]
    if not shadow or not shadow["is_below"]:
        return Section([])
    asked = f"{100 * shadow['min_agreement']:g} %" if shadow["min_agreement"] else ""
    if shadow["share"] is None:
        text = (
            f"Nothing fell into the shadow sample of {100 * shadow['asked']:g} %, so the agreement "
            f"that --min-agreement asks for is not known. Take a larger sample."
        )
    else:
        what = counted(shadow["count"], figures["run"]["labels_are"])
        label = (
            f"same label {shadow['compared']}"
            if figures["early_exit"]
            else "unpruned model's label"
        )
        reached = shadow["high"] >= shadow["min_agreement"]
        advice = (
            "A larger --agreement or all views, in a new OUTPUT, evaluates more views; a smaller "
            "--r prunes less"
            if figures["early_exit"]
            else "A smaller --r (or --r 0) in a new OUTPUT prunes less"
        )
        text = (
            f"Only {percent(shadow)} {interval(shadow)} of {what} in the shadow sample have the "
            f"{label}; --min-agreement asks for {asked}"
            f"{', which the interval reaches' if reached else ''}. {advice}; jobs/cost_report.py "
            f"names the videos on which two runs differ."
        )
    culprit = shadow["culprit"]
    title = f"{culprit[:1].upper()}{culprit[1:]} may hurt on this data"
    return Section([Text(text)], title, warning=True)


def _summary(figures: Content) -> list[Block]:
    cost, shadow = figures["cost"], figures["shadow"]
    sampled = shadow and shadow["units"]
    blocks: list[Block] = [Tiles(tiles(figures))]
    if sampled:
        more = [quantity(shadow["flops"], "FLOPs"), duration(shadow["device_s"])]
        more += [money(cost["shadow"], cost["currency"])] if cost else []
        blocks.append(
            Text(
                f"FLOPs, device time{' and the cost of the work' if cost else ''} do not include "
                f"the shadow sample, which took {', '.join(more[:-1])} and {more[-1]} more.",
                soft=True,
            )
        )
    if cost:
        parts = [
            money(cost[name], cost["currency"]) for name in ("labeling", "decoding", "reading")
        ]
        blocks.append(
            Text(
                f"Cost of the work: {parts[0]} for labeling, {parts[1]} for decoding and "
                f"{parts[2]} for reading.",
                soft=True,
            )
        )
    return blocks


def _throughput(figures: Content) -> list[Block]:
    found, things = figures["throughput"], figures["run"]["units_are"]
    blocks: list[Block] = []
    if found["bottleneck"]:
        # It says how busy both pools were.
        pools = f"Decoders: {found['decoders']}; labelers: {found['labelers']}."
        blocks += [Text(f"Bottleneck: {found['bottleneck']}"), Text(pools)]
    elif found["decoders_busy"] is not None and found["labelers_busy"] is not None:
        blocks.append(
            Text(
                f"Decoders ({found['decoders']}) were busy for "
                f"{100 * found['decoders_busy']:.0f} % of the time, labelers "
                f"({found['labelers']}) for "
                f"{100 * found['labelers_busy']:.0f} %."
            )
        )
    spans = found["spans"]
    if not spans:
        unknown = "No rate: the times of rows are not known, or too few units were labeled."
        return [*blocks, Text(unknown, soft=True)]
    rates = [
        Plot(plots.rate_over_time(spans, name, title, color), title)
        for name, title, color in (
            ("units_per_s", f"{things.capitalize()} labeled per second", COLORS[0]),
            ("video_hours_per_hour", "Video-hours labeled per hour", COLORS[2]),
        )
    ]
    blocks.append(Plots(rates))
    if len(spans) > 1:
        pause = "Hatched: nothing ran between two attempts, for the time written there."
        blocks.append(Text(pause, soft=True))
    return blocks


def _failures(figures: Content) -> list[Block]:
    run, totals, damaged = figures["run"], figures["totals"], figures["damaged"]
    if figures["failures"]:
        text = f"{counted(totals['units_failed'], run['units_are'])} of {totals['units']:,} failed"
        if run["units_are"] == "segments":
            text += (
                f": {counted(totals['failed'], 'videos')} failed, and {totals['incomplete']:,} "
                f"more lack segments"
            )
        blocks: list[Block] = [Text(f"{text}.")]
    else:
        blocks = [Text(f"None of {counted(totals['units'], run['units_are'])} failed.")]
    for reason, found in figures["failures"].items():
        examples = [_example(row) for row in found["examples"]]
        blocks += [Heading(f"{reason}: {found['count']:,}"), Bullets(examples)]
    if damaged["videos"]:
        blocks.append(
            Table(
                ("video", "frames lost", "frames decoded"),
                [
                    (_code(row["video_id"]), f"{row['lost_frames']:,}", _number(row["frame_count"]))
                    for row in damaged["worst"]
                ],
                title=f"Labeled despite damage: {damaged['videos']:,}",
                about=f"{counted(damaged['videos'], 'videos')} lost {damaged['lost_frames']:,} "
                f"frames to damage; the videos that lost most:",
                numbers=True,
            )
        )
    return blocks


def _example(row: Mapping[str, Any]) -> Markup:
    where = settings.segment(row)
    return Markup('<code>{}</code>{}: {}<br><code class="soft">{}</code>').format(
        displayed(row["video_id"]),
        f" ({where})" if where else "",
        displayed(row["error"]),
        displayed(row["uri"]),
    )


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(displayed(text))


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _labels(figures: Content) -> list[Block]:
    labels, run = figures["labels"], figures["run"]
    if not labels["count"]:
        return [Text("Nothing was labeled.")]
    low, things = labels["low_confidence"], run["labels_are"]
    scores = plots.score_histogram(labels["scores"], low["below"])
    most = labels["top"][0]["count"]
    return [
        Text(
            f"{labels['classes']:,} of {run['classes']:,} classes occur. "
            f"{100 * low['share']:.1f} % of {counted(labels['count'], things)} "
            f"have a score below {low['below']}. The score of a label is its probability, averaged "
            f"over the evaluated views."
        ),
        Plots([Plot(scores, f"{things.capitalize()} by score (probability of the label)")]),
        Table(
            ("label", things, "mean score"),
            [
                (
                    _bar(row["label"], row["count"] / most),
                    f"{row['count']:,}",
                    f"{row['mean_score']:.2f}",
                )
                for row in labels["top"]
            ],
            title="Most frequent labels",
            numbers=True,
        ),
    ]


def _bar(text: str, share: float) -> Markup:
    bar = Markup('{}<span class="bar" style="width: {}%"></span>')
    return bar.format(displayed(text), f"{100 * share:.1f}")


def _early_exit(figures: Content) -> list[Block]:
    early_exit = figures["early_exit"]
    if early_exit is None:
        return []
    unpruned = (
        f", and {100 * early_exit['share_of_unpruned']:.1f} % of those of the unpruned model"
        if figures["run"]["r"]
        else ""
    )
    text = (
        f"{early_exit['mean']:.3g} of {early_exit['views_per_video']} views of a video were "
        f"evaluated on average before early exit: {100 * early_exit['share_of_all']:.1f} % of the "
        f"FLOPs of all views{unpruned}."
    )
    budget = early_exit["budget"]
    if not budget:
        exactly = "" if figures["run"]["decode"] == "exact" else ", decoded exactly"
        text += (
            f" The threshold guarantees that at least {100 * early_exit['agreement']:g} % of the "
            f"labels are those of all views{exactly} ({100 * early_exit['confidence']:g} % "
            f"confidence)."
        )
    blocks: list[Block] = [Text(text)]
    if budget:
        blocks.append(Text(_budget(budget)))
    caption = "Videos by the number of evaluated views"
    return [*blocks, Plots([Plot(plots.evaluated_views(early_exit["counts"]), caption)])]


def _budget(budget: Mapping[str, Any]) -> str:
    text = (
        f"{budget['said']} were spent ({100 * budget['spent'] / budget['budget']:.1f} %), without "
        f"the shadow sample. With the same thresholds, the calibration's videos kept "
        f"{100 * budget['agreement']:.1f} % of the labels of all views (at least "
        f"{100 * budget['low']:.1f} %); without a budget, the threshold guarantees "
        f"{100 * budget['guaranteed']:g} %."
    )
    if budget["stopped_by_budget"]:
        text += (
            f" {budget['stopped_by_budget']:,} of {budget['videos']:,} videos reached their view "
            f"limit below the threshold, so that the budget covered a view of every other video; "
            f"the calibration says nothing about them."
        )
    return text


def _slowest(slowest: Mapping[str, Any]) -> list[Block]:
    if not slowest["decode"] and not slowest["device"]:
        return [Text("No video took any time.")]
    titles = {
        "decode": "To fetch, decode and resize (core time)",
        "device": "To label (device time)",
    }
    kinds = [kind for kind in titles if slowest[kind]]
    return [_ranked(slowest[kind], kind, kinds, titles[kind]) for kind in kinds]


def _ranked(rows: Sequence[Mapping[str, Any]], by: str, kinds: Sequence[str], title: str) -> Table:
    """A table of the videos that took most time of a kind, and their times of the other kinds."""
    sized = any(row["size_bytes"] is not None for row in rows)
    shown = [by, *(kind for kind in kinds if kind != by)]

    def milliseconds(value: float | None) -> str:
        return "" if value is None else duration(value / 1000)

    return Table(
        ("video", *(_TIMES[kind] for kind in shown), "length", *(["size"] if sized else [])),
        [
            (
                _code(row["video_id"]),
                *(milliseconds(row[f"{kind}_ms"]) for kind in shown),
                "" if row["duration_s"] is None else duration(row["duration_s"]),
                *([byte_size(row["size_bytes"] or 0)] if sized else []),
            )
            for row in rows
        ],
        title=title,
        numbers=True,
    )


def _kept_tokens(figures: Content) -> list[Block]:
    kept = figures["kept_tokens"]
    if kept is None:
        unpruned = figures["run"]["r"] == 0
        said = "The model was not pruned: every token was kept." if unpruned else None
        return [Text(said or "No view was labeled.")]
    views = counted(kept["of_views"], "views")
    sample = (
        f"A spread sample of {kept['views']:,} of {views}"
        if kept["views"] < kept["of_views"]
        else f"All {views}"
    )
    maps = [
        Plot(
            plots.kept_by_position(stage, number),
            f"Stage {number}: {100 * stage['share']:.1f} % of {_grid(stage['grid'])} kept",
        )
        for number, stage in enumerate(kept["stages"], 1)
    ]
    frames, positions = figures["run"]["protocol"].get("frames"), kept["stages"][0]["grid"][0]
    each = f" ({frames // positions} frames each)" if frames and frames % positions == 0 else ""
    by_time = Plot(plots.kept_by_time(kept["stages"]), f"Share kept by temporal position{each}")
    return [
        Text(
            f"{sample}. Maps: the share of views in which the token at each position of the frame "
            f"was kept, averaged over time."
        ),
        Plots([*maps, by_time], width=15),
    ]


def _grid(grid: Sequence[int]) -> str:
    return f"{grid[0]} times x {grid[1]} rows x {grid[2]} columns"
