"""The account of what one input of a question takes, round by round."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipeline.questions.answer import Look
from pipeline.questions.columns import Groups
from pipeline.questions.outcomes import Outcomes
from pipeline.questions.series import Series
from pipeline.questions.spent import QuestionCost, question_cost, recorded
from pipeline.questions.unit_work import Ids, UnitWork, Work


class CostAccount:
    """Which units each round labeled, and at the end what they took.

    Args:
        reference: None where people are the reference.
        proxy: None without a run of the proxy.
        groups: of the units of the input.
    """

    def __init__(self, reference: Series | None, proxy: Series | None, groups: Groups) -> None:
        self._series = (reference, proxy)
        self._groups = groups
        self._rounds: list[tuple[Ids | None, Ids | None]] = []

    def add(self, reference: Outcomes, proxy: Outcomes | None) -> None:
        """The units after another round."""
        self._rounds.append((reference.unit_ids, None if proxy is None else proxy.unit_ids))

    def cost(self) -> QuestionCost | None:
        """What the runs take so far, whichever question had them labeled; None without a run.

        Raises:
            OSError, pa.ArrowException: tables of a run cannot be read.
        """
        last = self._rounds[-1] if self._rounds else ()
        # People's labels are units of the sample, and of no run.
        counts = [
            len(ids)
            for series, ids in zip(self._series, last, strict=False)
            if series is not None and ids is not None
        ]
        return question_cost(*self._series, self._groups, rests_on=sum(counts))

    def with_work(self, looks: Sequence[Look]) -> tuple[Look, ...]:
        """The looks of the rounds with the work on their units.

        Raises:
            OSError, pa.ArrowException: tables of a run cannot be read.
        """
        sums: list[Work | None] = [None] * len(looks)
        for place, series in enumerate(self._series):
            record = None if series is None else recorded(series)
            if series is None or record is None:
                continue
            known = UnitWork.read(series.run, self._groups)
            for number, each in enumerate(self._rounds):
                if (ids := each[place]) is not None:
                    work, before = Work.of(known.of_units(ids), record.prices), sums[number]
                    sums[number] = work if before is None else before + work
        return tuple(
            dataclasses.replace(look, work=work) for look, work in zip(looks, sums, strict=True)
        )
