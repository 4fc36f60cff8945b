"""A question from its first round to its answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import UsageError
from pipeline.labeling.options import LabelOptions
from pipeline.messages import say
from pipeline.questions.answer import Answer, Example, Look, Source, interval, named
from pipeline.questions.columns import groups_of, numbers_of, values_of
from pipeline.questions.comparisons import Comparisons
from pipeline.questions.cost_account import CostAccount
from pipeline.questions.earlier_run import EarlierRun
from pipeline.questions.estimates import Estimates, Population, Sampled
from pipeline.questions.intervals.allocation import Costs
from pipeline.questions.intervals.difference import DIFFERENCE_ALPHA_SHARE
from pipeline.questions.outcomes import Outcomes, outcomes, unlabeled
from pipeline.questions.periods import column_and_period
from pipeline.questions.proxy_run import ProxyRun
from pipeline.questions.question import Question
from pipeline.questions.rounds import PILOT, Sizes, Wanted, by_plan, by_width, pilot
from pipeline.questions.run_words import pruning_and_views
from pipeline.questions.sample import ALL, Limits, Manifest, limits
from pipeline.questions.series import Series
from pipeline.questions.truth import TO_LABEL, Truth
from pipeline.storage.location import Location

_EXAMPLES = 6


@dataclass(frozen=True)
class Asked:
    """What is asked of one input, and how.

    Attributes:
        question: the question.
        reference: options of the labeling whose labels count.
        proxy: options of the cheap labeling; None without one.
        proxy_run: OUTPUT of an earlier run that is the proxy instead; None without one.
        within: largest half width of the intervals, on the scale of the estimates.
        alpha: 1 - confidence of all intervals of the answer together.
        by: what groups videos; None for no groups.
        between: two of the groups, for their difference alone; None for every group.
        most: largest number of units of the reference; None for no limit.
        truth: list of labels that people gave; None for the reference's own.
        output: where the runs lie.
    """

    question: Question
    reference: LabelOptions
    proxy: LabelOptions | None
    within: float
    alpha: float
    output: str
    by: str | None = None
    between: tuple[str, str] | None = None
    most: int | None = None
    truth: Path | None = None
    proxy_run: str | None = None


def answer_question(asked: Asked, *, confidence: float, against: Asked | None = None) -> Answer:
    """Labels rounds until the intervals are as narrow as was asked; returns the answer.

    A killed question goes on: what a round has is decided by the rounds before it, and a run that
    has a round's units, or more, is not labeled again.

    Args:
        asked: the question.
        confidence: for the answer.
        against: the same question to another input, for the difference.

    Raises:
        UsageError: the question does not fit the model or the input.
        RunError: labeling could not finish.
    """
    each = (asked,) if against is None else (asked, against)
    inquiries = [_Inquiry(one, len(each), by_last=one is against) for one in each]
    comparisons = _comparisons(asked, inquiries)
    while True:
        for inquiry in inquiries:
            inquiry.look()
        looks = [inquiry.last for inquiry in inquiries]
        numbers = looks[0].estimates if comparisons is None else comparisons.look(looks)
        if max(one.half_width for one in numbers) <= asked.within:
            break
        if comparisons is None:
            wanted = [inquiries[0].estimates.wanted(asked.within)]
        else:
            wanted = comparisons.wanted()
        grown = [inquiry.grow(one) for inquiry, one in zip(inquiries, wanted, strict=True)]
        # A further round of one side alone tells little of a difference.
        if not any(grown) or any(
            asks and not grew for asks, grew in zip(wanted, grown, strict=True)
        ):
            break
    return Answer(
        question=asked.question,
        confidence=confidence,
        within=asked.within,
        sources=tuple(each.source() for each in inquiries),
        compared=() if comparisons is None else tuple(comparisons.rounds),
        is_truth=asked.truth is not None,
        by=asked.by,
        between=asked.between,
        task=asked.reference.task,
        r=asked.reference.pruning.r,
    )


def _comparisons(asked: Asked, inquiries: list[_Inquiry]) -> Comparisons | None:
    if asked.between is None and len(inquiries) == 1:
        return None
    return Comparisons(
        asked.question.kind,
        [each.estimates for each in inquiries],
        within=asked.within,
        alpha=asked.alpha * DIFFERENCE_ALPHA_SHARE,
    )


class _Inquiry:
    """One input that is asked, round by round.

    Args:
        asked: the question.
        inputs: how many there are.
        by_last: as of `Limits`, so that samples of two inputs are independent.

    Attributes:
        estimates: its numbers.
    """

    def __init__(self, asked: Asked, inputs: int, *, by_last: bool) -> None:
        self._asked = asked
        self._by_last = by_last
        self._is_one_of_two = inputs > 1
        is_compared = inputs > 1 or asked.between is not None
        own_share = (1 - DIFFERENCE_ALPHA_SHARE) / inputs if is_compared else 1.0
        self._reference = Series.of(asked.reference)
        self._proxy = None if asked.proxy is None else Series.of(asked.proxy)
        classes = self._reference.plan.model.labels
        self._labels = asked.question.among(classes, has_truth=asked.truth is not None)
        self._dense = self._reference.plan.identity.has_segments
        # All that may be wrong with the question is found before anything is written.
        self._earlier = None
        if asked.proxy_run is not None:
            protocol = self._reference.plan.protocol
            first = min(PILOT, asked.most or PILOT)
            self._earlier = EarlierRun(asked.proxy_run, asked.question, protocol, first=first)
        value_of = values_of(asked.reference, asked.by)
        self._numbers = self._column()
        self._truth = None
        if asked.truth is not None:
            if self._dense:
                raise UsageError(
                    "--truth has labels of whole videos, which do not go with --clip-every; leave "
                    "one of them out"
                )
            to_label = Location.of(asked.output).child(TO_LABEL)
            self._truth = Truth.read(asked.truth, asked.reference.lists, classes, to_label)
        by = None if asked.by is None else column_and_period(asked.by)[0]
        columns = [each for each in (by, asked.question.column) if each is not None]
        self._units = self._reference.begin(read=columns)
        if self._units == 0:
            raise UsageError(f"{asked.reference.source} has nothing to ask about")
        if self._truth is not None:
            self._truth.tell(self._reference.run, self._labels, asked.reference.source)
        if self._truth is None and self._units <= PILOT:
            self._proxy = None  # the reference labels everything at once
        if self._proxy is not None:
            self._proxy.begin(like=self._reference)
        self._groups = groups_of(self._reference.run, value_of, asked.between)
        self._manifest = Manifest(self._reference.run, self._groups)
        populations = self._groups.units
        self._sizes = pilot(
            populations,
            has_proxy=self._proxy is not None,
            most=self._most(),
            only=() if asked.between is None else (0, 1),
        )
        self._seen = Sizes.none(populations)
        # Sides of a difference that are alike.
        within = asked.within / math.sqrt(2) if is_compared else asked.within
        self.estimates = Estimates(
            asked.question,
            within,
            self._populations(asked.alpha * own_share),
            use_proxy=self._proxy is not None or self._earlier is not None,
            proxy_mean=self._known_means(),
        )
        self._looks: list[Look] = []
        labeled = None if self._truth is not None else self._reference
        self._account = CostAccount(labeled, self._proxy, self._groups)
        self._sample: Sampled | None = None
        self._scored: Outcomes | None = None

    @property
    def last(self) -> Look:
        """The last look."""
        return self._looks[-1]

    def look(self) -> None:
        """Labels the round's units, unless that was done, and adds a look."""
        if self._sizes == self._seen:
            return
        of_reference, of_proxy = limits(self._sizes, by_last=self._by_last)
        proxy = None if self._proxy is None else self._sampled(self._proxy, of_proxy)
        if self._truth is None:
            reference = self._sampled(self._reference, of_reference)
        else:
            listed = unlabeled(self._manifest.drawn(of_reference))
            reference = self._in_groups(self._truth.of(listed, self._labels), of_reference)
        labeled = None if proxy is None else proxy.outcomes
        if self._earlier is not None:
            scored = self._earlier.outcomes(reference.outcomes)
            proxy = dataclasses.replace(reference, outcomes=scored)
        self.estimates.add(reference, proxy, self._numbers)
        self._sample = reference
        self._scored = (proxy or reference).outcomes
        self._seen = self._sizes
        units = len(reference.outcomes), 0 if labeled is None else len(labeled)
        flops = self._flops(*units)
        if self._earlier is not None:
            units = units[0], self._earlier.labeled
        self._looks.append(Look(*units, flops, self.estimates.now()))
        self._account.add(reference.outcomes, labeled)
        self._tell()

    def grow(self, wanted: list[Wanted]) -> bool:
        """Chooses the next round; False where there is none.

        Args:
            wanted: intervals that are too wide.
        """
        most, before = self._most(), self._seen
        if self._earlier is not None:
            costs = Costs(self._reference.flops_per_unit, self._reference.flops_per_unit)
            self._sizes = by_plan(before, wanted, costs=costs, most=most, is_scored=True)
        elif self._proxy is None:
            self._sizes = by_width(before, wanted, most=most)
        else:
            costs = Costs(self._reference.flops_per_unit, self._proxy.flops_per_unit)
            self._sizes = by_plan(before, wanted, costs=costs, most=most)
        return self._sizes != before

    def source(self) -> Source:
        """What was looked at."""
        plan = self._reference.plan
        highest, lowest = self._ends()
        assert self._sample is not None
        return Source(
            name=self._asked.reference.source,
            units=self._units,
            units_are=plan.identity.units_are,
            looks=self._account.with_work(self._looks),
            failed=int((~self._sample.outcomes.ok).sum()),
            flops_of_all=self._flops(self._units, 0),
            reference=_words(self._reference) if self._truth is None else self._truth.words,
            proxy=self._proxy_words(),
            output=self._asked.output,
            scored_by="proxy" if self._proxy or self._earlier else "reference",
            highest=highest,
            lowest=lowest,
            cost=self._account.cost(),
            proxy_run=self._proxy_run(),
        )

    def _sampled(self, series: Series, sample: Limits) -> Sampled:
        """Labels the sample; returns what is known of it."""
        whole = min(sample.groups) == ALL
        series.label(None if whole else self._manifest.drawn(sample))
        return self._in_groups(outcomes(series.run, self._labels, dense=self._dense), sample)

    def _in_groups(self, found: Outcomes, sample: Limits) -> Sampled:
        """The units of a sample among those that were labeled, which may be more."""
        groups = self._groups.of(list(found.video_ids))
        rows = np.flatnonzero(sample.hold(found.unit_ids, groups))
        return Sampled(found.take(rows), groups[rows], sample)

    def _known_means(self) -> Callable[[Population], float] | None:
        if self._earlier is None:
            return None
        scores = self._earlier.read(self._reference.run, self._groups)
        return lambda population: scores.mean(population.column, population.number)

    def _proxy_words(self) -> str:
        if self._earlier is not None:
            return "an earlier run"
        return "" if self._proxy is None else _words(self._proxy, short=True)

    def _proxy_run(self) -> ProxyRun | None:
        if self._earlier is None or self._sample is None:
            return None
        # Those that answer for all are random units, which the other ones of groups are not.
        rows, found = self._sample.of(None), self._sample.outcomes
        return self._earlier.proxy_run(found.take(rows) if len(rows) else found)

    def _column(self) -> Callable[[list[str]], np.ndarray] | None:
        column = self._asked.question.column
        return None if column is None else numbers_of(self._asked.reference, column)

    def _most(self) -> int:
        return min(self._units, self._asked.most or self._units)

    def _populations(self, alpha: float) -> list[Population]:
        """Each number that is estimated: of which label, in which group, of how many units; `alpha`
        is that of all together.
        """
        groups = [
            (name, number, units)
            for number, (name, units) in enumerate(
                zip(self._groups.names, self._groups.units, strict=True)
            )
        ]
        shares: list[tuple[str, int | None, int]] = [("", None, self._units)]
        if self._asked.between is not None:
            shares = [*groups[:2]]
        elif self._asked.by is not None:
            shares += groups
        labels = self._asked.question.labels
        each = alpha / (len(labels) * len(shares))
        return [
            Population(label, column, group, number, units, each)
            for column, label in enumerate(labels)
            for group, number, units in shares
        ]

    def _flops(self, reference: int, proxy: int) -> int:
        paid = 0 if self._truth is not None else reference * self._reference.flops_per_unit
        return paid + (0 if self._proxy is None else proxy * self._proxy.flops_per_unit)

    def _tell(self) -> None:
        """Says what the round brought: of several numbers, the one with the widest interval."""
        look = self.last
        widest = max(look.estimates, key=lambda each: each.half_width)
        seen = f"{look.reference:,} of {self._units:,} by the reference"
        if look.proxy:
            seen += f", {look.proxy:,} by the proxy"
        where = f" of {self._asked.reference.source}" if self._is_one_of_two else ""
        say(
            f"round {len(self._looks)}{where}: {seen}: {named(widest)} "
            f"{interval(self._asked.question.kind, widest)}"
        )

    def _ends(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Videos with the highest and the lowest scores of the first label."""
        sample = self._scored
        assert sample is not None
        if not sample.scores.size:
            return (), ()
        score = sample.scores[:, 0]
        order = np.argsort(-score, kind="stable")
        order = order[sample.ok[order]]

        def examples(rows: np.ndarray) -> tuple[Example, ...]:
            return tuple(
                Example(
                    video_id=str(sample.video_ids[row]),
                    score=float(score[row]),
                    has_label=bool(sample.found[row, 0] > 0),
                )
                for row in rows
            )

        return examples(order[:_EXAMPLES]), examples(order[::-1][:_EXAMPLES])


def _words(series: Series, *, short: bool = False) -> str:
    words = pruning_and_views(series.plan.identity)
    return words if short else f"{series.plan.model.architecture}, {words}"
