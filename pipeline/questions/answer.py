"""The answer to a question: its estimates at every look, what was labeled, and what that cost."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from typing import Any

from pipeline.formatting import counted, digits, quantity
from pipeline.questions.proxy_run import ProxyRun
from pipeline.questions.question import Kind, Question
from pipeline.questions.spent import QuestionCost
from pipeline.questions.spent_words import cost_lines
from pipeline.questions.unit_work import Work
from pipeline.storage.location import Location

_WIDTH = 80
_INDENT = " " * 11
_OPINION = "; a model's opinion is not the truth: --truth FILE takes labels that people gave"


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
        confidence: of all intervals and looks together.
        within: largest half width that was asked for, on the scale of the estimates.
        sources: the input, and the one it is compared with if there is one.
        compared: differences after each round; empty where nothing is compared.
        is_truth: whether people gave the labels.
    """

    question: Question
    confidence: float
    within: float
    sources: tuple[Source, ...]
    compared: tuple[Compared, ...] = ()
    is_truth: bool = False

    @property
    def estimates(self) -> tuple[Estimated, ...]:
        """The numbers asked for, of the first input."""
        return self.sources[0].looks[-1].estimates

    @property
    def differences(self) -> tuple[Estimated, ...]:
        """The differences asked for; empty where nothing is compared."""
        return self.compared[-1].differences if self.compared else ()

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
    if each.seen == each.units and each.low == each.high:
        return f"{value} (exact: all were labeled)"
    return f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def difference_interval(kind: Kind, each: Estimated) -> str:
    """A difference with its interval; of shares in percentage points."""
    return interval(kind, each).replace(" %", " points", 1)


def text(answer: Answer) -> str:
    """The answer on the screen."""
    first, kind = answer.sources[0], answer.question.kind
    lines = [f"Question:  {answer.question.text}, in {first.name}"]
    sure = f"{100 * answer.confidence:g} % confidence"
    is_exact = answer.is_complete or all(each.low == each.high for each in answer.estimates)
    for number, each in enumerate(answer.estimates):
        name = "" if len(answer.estimates) == 1 else f"{named(each)}: "
        head = "Answer:    " if not number else _INDENT
        told = f", with {sure}" * (not number and not is_exact)
        lines.append(f"{head}{name}{interval(kind, each)}{told}")
    for source in answer.sources[1:]:
        lines += wrapped(f"Against:   {source.name}")
        lines += [
            f"{_INDENT}{named(each)}: {interval(kind, each)}" for each in source.looks[-1].estimates
        ]
    for number, each in enumerate(answer.differences):
        head = "Difference:" if not number else _INDENT
        lines.append(f"{head} {named(each)}: {difference_interval(kind, each)}")
    for source in answer.sources:
        lines += _source(source, is_truth=answer.is_truth)
    if not answer.is_met:
        lines += wrapped(
            "Unmet:     an interval is wider than --within asks; --max-reference ended the question"
        )
    return "\n".join(lines)


def _source(source: Source, *, is_truth: bool) -> list[str]:
    last = source.looks[-1]
    opinion = "" if is_truth else _OPINION
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
