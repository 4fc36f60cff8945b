"""The answer to a question: its estimates after each round, what was labeled, and the cost."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from typing import Any

from pipeline.formatting import counted, digits, quantity
from pipeline.questions.everything import everything_command, everything_note
from pipeline.questions.proxy_run import ProxyRun
from pipeline.questions.question import Kind, Question
from pipeline.questions.spent import QuestionCost
from pipeline.questions.spent_words import cost_lines
from pipeline.questions.unit_work import Work
from pipeline.storage.location import Location

_WIDTH = 80
_INDENT = " " * 11
_PER_HOUR = " per hour"
OPINION = "; a model's opinion is not the truth"
_TRUTH_FLAG = ": --truth FILE takes labels that people gave"


@dataclass(frozen=True)
class Estimated:
    """One number that was asked for.

    Attributes:
        label: the class.
        group: the group of --by; "" for all; ONE less OTHER of the difference of two groups.
        value: the estimate: a share of 1 (a count is that share of `units`), a rate per hour or a
            mean.
        low: lower end of its interval.
        high: upper end.
        units: units of the population or the group; of a difference those of both sides.
        seen: those of them that the reference labeled.
        proxy_weight: how much of the proxy the estimate takes, 0 for nothing.
    """

    label: str
    group: str
    value: float
    low: float
    high: float
    units: int
    seen: int = 0
    proxy_weight: float = 0.0

    @property
    def half_width(self) -> float:
        """Half of the distance between both ends; infinite where nothing is known yet."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Look:
    """What was known after a round.

    Attributes:
        reference: units that the reference had labeled.
        proxy: units that the proxy had labeled.
        flops: multiply-accumulates so far.
        estimates: the numbers asked for.
        work: on these units; None before it is read.
    """

    reference: int
    proxy: int
    flops: int
    estimates: tuple[Estimated, ...]
    work: Work | None = None


@dataclass(frozen=True)
class Compared:
    """What was known of the differences after a round.

    Attributes:
        reference: units of both sides that the reference had labeled.
        flops: multiply-accumulates of both so far.
        differences: of the first less the second, of two inputs or groups.
    """

    reference: int
    flops: int
    differences: tuple[Estimated, ...]


@dataclass(frozen=True)
class Example:
    """A video from one end of the proxy's or the reference's scores of the first label."""

    video_id: str
    score: float
    has_label: bool


@dataclass(frozen=True)
class Source:
    """One input and what was looked at of it.

    Attributes:
        name: the input.
        units: units of the population.
        units_are: what they are called.
        looks: one per round.
        failed: units of the reference that could not be labeled.
        flops_of_all: multiply-accumulates of labeling everything by the reference; 0 where people
            are the reference.
        reference: who gave the labels, in words.
        proxy: the proxy in words; "" without one.
        output: where the runs lie.
        scored_by: whose scores those of the examples are.
        highest: videos with the highest scores of the first label.
        lowest: those with the lowest.
        cost: time and money; None where nothing was labeled.
        proxy_run: the earlier run that was the proxy; None where none was.
    """

    name: str
    units: int
    units_are: str
    looks: tuple[Look, ...]
    failed: int
    flops_of_all: int
    reference: str
    proxy: str
    output: str
    scored_by: str = "reference"
    highest: tuple[Example, ...] = ()
    lowest: tuple[Example, ...] = ()
    cost: QuestionCost | None = None
    proxy_run: ProxyRun | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        question: what was asked.
        confidence: of all intervals and rounds together.
        within: largest half width that was asked for, on the scale of the estimates.
        sources: the input, and the one it is compared with if there is one.
        compared: differences after each round; empty where nothing is compared.
        is_truth: whether people gave the labels.
        by: what groups videos; None for no groups.
        between: two of the groups, for their difference alone; None for every group.
        task: labeling job whose protocol is taken.
        r: of the reference; None for the default of the model.
    """

    question: Question
    confidence: float
    within: float
    sources: tuple[Source, ...]
    compared: tuple[Compared, ...] = ()
    is_truth: bool = False
    by: str | None = None
    between: tuple[str, str] | None = None
    task: str = "k400"
    r: int | None = 0

    @property
    def estimates(self) -> tuple[Estimated, ...]:
        """The numbers asked for, of the first input."""
        return self.sources[0].looks[-1].estimates

    @property
    def differences(self) -> tuple[Estimated, ...]:
        """The differences asked for; empty where nothing is compared."""
        return self.compared[-1].differences if self.compared else ()

    @property
    def subtracted(self) -> str:
        """Which of two inputs is subtracted from which; "" where none is. Differences of groups
        tell it themselves.
        """
        return " less ".join(each.name for each in self.sources) if len(self.sources) > 1 else ""

    @property
    def tells_seen(self) -> bool:
        """Whether numbers tell on how many units each rests; a single share or count rests on all
        that were labeled.
        """
        several = len(self.estimates) > 1 or bool(self.differences)
        return several or self.question.kind in ("rate", "mean")

    @property
    def is_complete(self) -> bool:
        """Whether the reference labeled everything, so that nothing is left to learn."""
        return all(source.looks[-1].reference == source.units for source in self.sources)

    @property
    def is_met(self) -> bool:
        """Whether every interval is as narrow as was asked."""
        asked = self.differences or self.estimates
        return self.is_complete or all(each.half_width <= self.within for each in asked)

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        made = dataclasses.asdict(self)
        differences = [dataclasses.asdict(each) for each in self.differences]
        more = {"question": self.question.text, "differences": differences, "is_met": self.is_met}
        return made | more


def shown(kind: Kind, value: float) -> str:
    """A number of an answer, such as `5.1 %`."""
    if not math.isfinite(value):
        return "not known"
    if kind == "share":
        return f"{_places(100 * value)} %"
    if kind == "rate":
        return f"{digits(value)}{_PER_HOUR}"
    return f"{value:,.0f}" if kind == "count" else digits(value)


def _places(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def interval(kind: Kind, each: Estimated) -> str:
    """An estimate with its interval, such as `5.1 % (4.6 to 5.6)`."""
    scale = each.units if kind == "count" else 1
    value, low, high = (shown(kind, scale * end) for end in (each.value, each.low, each.high))
    if math.isnan(each.value):
        return "not known: nothing with this label was seen"
    if not (math.isfinite(each.low) and math.isfinite(each.high)):
        return f"{value} (no interval yet)"
    if is_exact(each):
        return f"{value} (exact: all were labeled)"
    low, high = (end.removesuffix(" %").removesuffix(_PER_HOUR) for end in (low, high))
    return f"{value} ({low} to {high})"


def is_exact(each: Estimated) -> bool:
    """Whether all units were labeled, so that nothing is left to estimate."""
    return each.seen == each.units and each.low == each.high


def has_interval(each: Estimated) -> bool:
    """Whether there is an interval, of which the confidence is."""
    return math.isfinite(each.low) and math.isfinite(each.high) and not is_exact(each)


def seen_of(each: Estimated) -> str:
    """On how many units a number rests, such as `51 of 52`."""
    return f"{each.seen:,} of {each.units:,}"


def difference_interval(kind: Kind, each: Estimated) -> str:
    """A difference with its interval; of shares in percentage points."""
    return interval(kind, each).replace(" %", " points", 1)


def text(answer: Answer) -> str:
    """The answer on the screen."""
    lines = wrapped(f"Question:  {answer.question.text}, in {answer.sources[0].name}")
    lines += _numbers(answer)
    for source in answer.sources:
        lines += _source(answer, source)
    if not answer.is_met:
        lines += wrapped(
            "Unmet:     an interval is wider than --within asks; --max-reference ended the question"
        )
    return "\n".join(lines)


def _numbers(answer: Answer) -> list[str]:
    """Lines of the numbers; the first that has an interval tells the confidence of all."""
    kind = answer.question.kind
    sides = [source.looks[-1].estimates for source in answer.sources]
    numbers = [each for side in (*sides, answer.differences) for each in side]
    unsure = [] if answer.is_complete else [each for each in numbers if has_interval(each)]

    def line(head: str, each: Estimated, words: str, *, tells_seen: bool) -> list[str]:
        looked_at = f"{each.seen:,}" if is_exact(each) else seen_of(each)
        seen = f", {looked_at} looked at" if tells_seen else ""
        sure = (
            f", with {100 * answer.confidence:g} % confidence"
            if unsure and unsure[0] is each
            else ""
        )
        return wrapped(f"{head}{words}{seen}{sure}")

    lines = []
    for number, each in enumerate(sides[0]):
        name = f"{named(each)}: " if len(sides[0]) > 1 else ""
        head = "Answer:    " if not number else _INDENT
        lines += line(head, each, f"{name}{interval(kind, each)}", tells_seen=answer.tells_seen)
    for source, side in zip(answer.sources[1:], sides[1:], strict=True):
        lines += wrapped(f"Against:   {source.name}")
        for each in side:
            lines += line(_INDENT, each, f"{named(each)}: {interval(kind, each)}", tells_seen=True)
    for number, each in enumerate(answer.differences):
        head = "Difference: " if not number else f"{_INDENT} "
        words = f"{named(each)}: {difference_interval(kind, each)}"
        lines += line(head, each, words, tells_seen=False)  # both sides tell their own
    if answer.subtracted:
        lines += wrapped(f"{_INDENT}({answer.subtracted})")
    return lines


def _source(answer: Answer, source: Source) -> list[str]:
    last = source.looks[-1]
    opinion = "" if answer.is_truth else f"{OPINION}{_TRUTH_FLAG}"
    seen = f"{last.reference:,} of {source.units:,} {source.units_are} by the reference"
    if source.proxy:
        seen += f", {last.proxy:,} by the proxy ({source.proxy})"
    lines = [
        *wrapped(f"Reference: {source.reference}{opinion}"),
        *wrapped(f"Looked at: {seen}, in {counted(len(source.looks), 'rounds')}"),
    ]
    if source.proxy_run is not None:
        for line in source.proxy_run.lines(source.units_are):
            lines += wrapped(line)
    if last.flops:
        lines += wrapped(f"Cost:      {quantity(last.flops)}FLOPs{_of_all(source, last.flops)}")
    note = everything_note(
        last.flops, source.flops_of_all, is_complete=last.reference == source.units
    )
    if note is not None:
        command = everything_command(source.name, source.output, task=answer.task, r=answer.r)
        lines += [*wrapped(f"Note:      {note}"), f"{_INDENT}{command}"]
    if source.cost is not None:
        for line in cost_lines(source.cost, source.units_are):
            lines += wrapped(line)
    if source.failed:
        lines += wrapped(
            f"Failed:    {source.failed:,} of {last.reference:,} could not be labeled, and count "
            "as without the label"
        )
    return [*lines, f"Output:    {Location.of(source.output).uri}"]


def _of_all(source: Source, flops: int) -> str:
    if not source.flops_of_all:
        return ""
    share = source.flops_of_all / flops
    less = f", {digits(share)} times as many" if share > 1 else ", no more"
    every = quantity(source.flops_of_all)
    return f"; all {source.units_are} by the reference take {every}FLOPs{less}"


def named(each: Estimated) -> str:
    """What a number is of, such as `falling, camera A`."""
    return f"{each.label}, {each.group}" if each.group else each.label


def wrapped(line: str) -> list[str]:
    """A line wrapped to 80 columns, indented below its heading."""
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )
