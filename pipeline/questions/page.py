"""The page of an answer: intervals after each round, groups, cost, and videos of both ends."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.formatting import digits, quantity, short_names
from pipeline.questions.answer import (
    Answer,
    Estimated,
    Example,
    Look,
    Source,
    difference_interval,
    has_interval,
    interval,
    named,
    seen_of,
    shown,
)
from pipeline.questions.closing import closing
from pipeline.questions.everything import everything_command, everything_note
from pipeline.questions.spent_words import cost_facts, cost_tiles, device_time
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

_HEADING = 24


def page(answer: Answer) -> str:
    """The page as HTML."""
    first = answer.sources[0]
    sections = [Section(_summary(answer))]
    if len(answer.compared) > 1:
        sections.append(_difference_closing(answer))
    for source in answer.sources:
        title = "The interval after each round"
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
        Tile(value, _name(each, answer), _bounds(each, bounds, answer.confidence)),
        Tile(
            f"{last.reference:,}",
            f"{first.units_are} by the reference",
            f"of {first.units:,}{f', {last.proxy:,} by the proxy' * bool(first.proxy)}",
        ),
    ]
    if last.flops:
        share = first.flops_of_all / last.flops
        tiles.append(
            Tile(
                f"{quantity(last.flops)}FLOPs",
                "cost",
                f"labeling all {first.units_are}: {digits(share)} times as many"
                if share > 1
                else "",
            )
        )
    if first.cost is not None:
        tiles += [Tile(*words) for words in cost_tiles(first.cost, first.units_are)]
    facts = [
        ("asked of", first.name),
        *_settings(answer),
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
    for source in answer.sources:
        blocks += _everything(answer, source)
    return [*blocks, Facts(facts)]


def _bounds(each: Estimated, bounds: str, confidence: float) -> str:
    sure = f", {100 * confidence:g} % confidence" if has_interval(each) else ""
    return f"({bounds}{sure}" if bounds else ""


def _settings(answer: Answer) -> list[tuple[str, str]]:
    """What was asked for besides the question."""
    kind = answer.question.kind
    in_points = kind in ("share", "count")
    within = digits(100 * answer.within if in_points else answer.within)
    unit = " points" if in_points else " per hour" if kind == "rate" else ""
    facts = [("--within", f"{within}{unit}")]
    if answer.by is not None:
        facts.append(("--by", answer.by))
    if answer.between is not None:
        facts.append(("--between", " and ".join(answer.between)))
    if answer.subtracted:
        facts.append(("difference", answer.subtracted))
    sides = [source.looks[-1].estimates for source in answer.sources]
    if any(has_interval(each) for side in (*sides, answer.differences) for each in side):
        facts.append(("confidence", f"{100 * answer.confidence:g} %, of all intervals together"))
    return facts


def _everything(answer: Answer, source: Source) -> list[Block]:
    last = source.looks[-1]
    note = everything_note(
        last.flops, source.flops_of_all, is_complete=last.reference == source.units
    )
    if note is None:
        return []
    command = everything_command(source.name, source.output, task=answer.task, r=answer.r)
    return [Text(f"Note: {note}"), Code(command)]


def _proxy(source: Source) -> list[tuple[str, str]]:
    if source.proxy_run is None:
        return [("the proxy", source.proxy or "none")]
    parts = (line.split(":", 1) for line in source.proxy_run.lines(source.units_are))
    return [(name.lower(), words.strip()) for name, words in parts]


def _name(each: Estimated, answer: Answer) -> str:
    group = f", {each.group}" if each.group else ""
    prefix = "difference, " if answer.differences else ""
    question = answer.question
    what = f"mean of {question.column} for" if question.kind == "mean" else f"{question.kind} of"
    return f"{prefix}{what} {each.label}{group}"


def _closing(answer: Answer, source: Source) -> Plot:
    return closing(
        answer.question.kind,
        [look.reference for look in source.looks],
        [look.flops for look in source.looks],
        [look.estimates for look in source.looks],
        units_are=source.units_are,
        column=answer.question.column,
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
    return Section([Plots([plot])], "The difference after each round")


def _rounds(answer: Answer, source: Source) -> Table:
    kind = answer.question.kind
    currency = None if source.cost is None else source.cost.currency
    first, *more = source.looks[0].estimates
    return Table(
        columns=(
            *("round", "reference"),
            *(("proxy",) if source.proxy else ()),
            "FLOPs",
            *(() if source.cost is None else ("work",)),
            *(() if currency is None else (f"work, {currency}",)),
            f"{named(first)}: estimate and interval" if more else "estimate and interval",
        ),
        rows=[
            (
                str(number),
                f"{look.reference:,}",
                *((f"{look.proxy:,}",) if source.proxy else ()),
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
    # Whole names would be wider than the page; the facts have them.
    names = short_names([each.name for each in answer.sources], _HEADING)
    heads = names if len(names) > 1 else ["estimate"]
    sides = [each.looks[-1].estimates for each in answer.sources]
    columns = [(head, side, interval) for head, side in zip(heads, sides, strict=True)]
    if answer.differences:
        less = f": {' less '.join(names)}" if len(names) > 1 else ""
        columns.append((f"difference{less}", answer.differences, difference_interval))
    found = [{(each.label, each.group): each for each in numbers} for _, numbers, _ in columns]
    rows = []
    for key in dict.fromkeys(key for each in found for key in each):
        label, group = key
        if any(key in each for each in found[: len(sides)]):
            seen = [seen_of(each[key]) if key in each else "none" for each in found[: len(sides)]]
        else:  # a difference of two groups, which rests on both
            seen = [seen_of(found[-1][key])]
        cells = [
            shows(kind, each[key]) if key in each else ""
            for each, (_, _, shows) in zip(found, columns, strict=True)
        ]
        rows.append((label, group or "all", " and ".join(seen), *cells))
    # As text, cells wrap: intervals of two inputs and their difference are wider than the page.
    return Table(
        columns=("label", "group", "looked at", *(head for head, _, _ in columns)), rows=rows
    )


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
