"""The page of an answer: the interval closing in, the groups, the cost, and videos of both ends."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.formatting import digits, quantity
from pipeline.questions.answer import (
    Answer,
    Estimated,
    Example,
    Look,
    Source,
    difference_interval,
    interval,
    shown,
)
from pipeline.questions.closing import closing
from pipeline.questions.spent_words import cost_facts, cost_tiles, device_time
from pipeline.reports.html.report import (
    Block,
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


def page(answer: Answer) -> str:
    """The page as HTML."""
    first = answer.sources[0]
    sections = [Section(_summary(answer))]
    if len(answer.compared) > 1:
        sections.append(_difference_closing(answer))
    for source in answer.sources:
        title = "How the interval closed in"
        title += f": {source.name}" if len(answer.sources) > 1 else ""
        blocks: list[Block] = []
        if len(source.looks) > 1:
            blocks.append(Plots([_closing(answer, source)]))
        blocks.append(_rounds(answer, source))
        if source is not first and source.cost is not None:
            blocks.append(Facts(cost_facts(source.cost, source.units_are)))
        sections.append(Section(blocks, title))
    if len(answer.estimates) > 1 or answer.differences:
        sections.append(Section([_numbers(answer)], "All numbers"))
    if first.highest:
        sections.append(Section(_examples(answer), "Highest and lowest scores"))
    return report_page(answer.question.text, sections)


def _summary(answer: Answer) -> list[Block]:
    kind, first = answer.question.kind, answer.sources[0]
    each = (answer.differences or answer.estimates)[0]
    last = first.looks[-1]
    shows = difference_interval if answer.differences else interval
    value, _, bounds = shows(kind, each).partition(" (")
    tiles = [
        Tile(value, _name(each, answer), f"({bounds}, {100 * answer.confidence:g} % confidence"),
        Tile(
            f"{last.reference:,}",
            f"{first.units_are} by the reference",
            f"of {first.units:,}, {last.proxy:,} by the proxy",
        ),
    ]
    if last.flops:
        share = first.flops_of_all / last.flops
        tiles.append(
            Tile(
                f"{quantity(last.flops)}FLOPs",
                "cost",
                f"all {first.units_are}: {digits(share)} times as many" if share > 1 else "",
            )
        )
    if first.cost is not None:
        tiles += [Tile(*words) for words in cost_tiles(first.cost, first.units_are)]
    facts = [
        ("asked of", first.name),
        ("the reference", first.reference),
        *_proxy(first),
        (
            "could not be labeled",
            f"{first.failed:,} of {last.reference:,}; they count as without the label",
        ),
        ("runs", first.output),
    ]
    if first.cost is not None:
        facts += cost_facts(first.cost, first.units_are)
    blocks: list[Block] = [Tiles(tiles)]
    if not answer.is_truth:
        blocks.append(
            Text(
                "The labels are the reference model's opinion, which is not the truth; "
                "--truth FILE takes labels that people gave."
            )
        )
    if not answer.is_met:
        blocks.append(Text("An interval is wider than --within asks."))
    return [*blocks, Facts(facts)]


def _proxy(source: Source) -> list[tuple[str, str]]:
    if source.proxy_run is None:
        return [("the proxy", source.proxy or "none")]
    parts = (line.split(":", 1) for line in source.proxy_run.lines(source.units_are))
    return [(name.lower(), words.strip()) for name, words in parts]


def _name(each: Estimated, answer: Answer) -> str:
    group = f", {each.group}" if each.group else ""
    prefix = "difference, " if answer.differences else ""
    return f"{prefix}{answer.question.kind} of {each.label}{group}"


def _closing(answer: Answer, source: Source) -> Plot:
    return closing(
        answer.question.kind,
        [look.reference for look in source.looks],
        [look.flops for look in source.looks],
        [look.estimates for look in source.looks],
        units_are=source.units_are,
    )


def _difference_closing(answer: Answer) -> Section:
    plot = closing(
        answer.question.kind,
        [each.reference for each in answer.compared],
        [each.flops for each in answer.compared],
        [each.differences for each in answer.compared],
        units_are=answer.sources[0].units_are,
        is_difference=True,
    )
    return Section([Plots([plot])], "How the difference closed in")


def _rounds(answer: Answer, source: Source) -> Table:
    kind = answer.question.kind
    currency = None if source.cost is None else source.cost.currency
    return Table(
        columns=(
            *("round", "reference", "proxy", "FLOPs"),
            *(() if source.cost is None else ("work",)),
            *(() if currency is None else (f"work, {currency}",)),
            "estimate and interval",
        ),
        rows=[
            (
                str(number),
                f"{look.reference:,}",
                f"{look.proxy:,}",
                quantity(look.flops),
                *(() if source.cost is None else (_time(look),)),
                *(() if currency is None else (_money(look),)),
                interval(kind, look.estimates[0]),
            )
            for number, look in enumerate(source.looks, 1)
        ],
        numbers=True,
    )


def _time(look: Look) -> str:
    return "" if look.work is None else device_time(look.work)


def _money(look: Look) -> str:
    return "" if look.work is None or look.work.money is None else digits(look.work.money)


def _numbers(answer: Answer) -> Table:
    """All numbers by label and group; a group that a side lacks has an empty cell there."""
    kind = answer.question.kind
    columns = [(each.name, each.looks[-1].estimates, interval) for each in answer.sources]
    if answer.differences:
        columns.append(("difference", answer.differences, difference_interval))
    found = [{(each.label, each.group): each for each in numbers} for _, numbers, _ in columns]
    rows = []
    for key in dict.fromkeys(key for each in found for key in each):
        label, group = key
        sizes = [f"{each[key].units:,}" for each in found[: len(answer.sources)] if key in each]
        cells = [
            shows(kind, each[key]) if key in each else ""
            for each, (_, _, shows) in zip(found, columns, strict=True)
        ]
        rows.append((label, group or "all", " and ".join(sizes), *cells))
    names = [name for name, _, _ in columns]
    return Table(columns=("label", "group", "units", *names), rows=rows, numbers=True)


def _examples(answer: Answer) -> list[Block]:
    first = answer.sources[0]
    label = answer.question.labels[0]

    def table(examples: Sequence[Example], words: str) -> list[Block]:
        rows = [
            (each.video_id, shown("share", each.score), "yes" if each.has_label else "no")
            for each in examples
        ]
        return [Text(words), Table(("video", f"score of {label}", "has the label"), rows)]

    return [
        *table(
            first.highest,
            f"Of the sample, the videos with the highest scores of {label}, by the "
            f"{first.scored_by}:",
        ),
        *table(first.lowest, "Those with the lowest:"),
    ]
