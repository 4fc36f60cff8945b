"""Outcome of a budget, for the summary and report.json."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.early_exit.budget import recorded_slices
from pipeline.early_exit.spending import Spending, count_stopped_by_budget, spending
from pipeline.formatting import digits
from pipeline.prices import Prices
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord


@dataclass(frozen=True)
class BudgetOutcome:
    """What a run with a budget spent, and the share of labels that it is expected to keep.

    Attributes:
        budget: FLOPs, or money.
        spent: of the same.
        currency: None for FLOPs.
        agreement: share of the calibration's videos that keep the label of all views at the
            thresholds of the slices, weighted by their videos.
        low: the same of the one-sided lower bounds, less the share of `stopped_by_budget`.
        guaranteed: share that the early-exit file guarantees.
        stopped_by_budget: videos that reached the view limit of their slice below the threshold;
            the calibration says nothing about them.
        videos: of all slices.
    """

    budget: float
    spent: float
    currency: str | None
    agreement: float
    low: float
    guaranteed: float
    stopped_by_budget: int
    videos: int

    @property
    def said(self) -> str:
        """Spent and budget, in words."""
        if self.currency is None:
            return f"{digits(self.spent / 1e12, 4)} T of {digits(self.budget / 1e12, 4)} T FLOPs"
        return f"{digits(self.spent)} of {digits(self.budget)} {self.currency}, by the work's time,"


def budget_outcome(run: RunDirectory, record: RunRecord) -> BudgetOutcome | None:
    """From a finished run and its run.json; None without a budget."""
    kept, terms, totals = record.budget, record.identity.early_exit, record.finished_totals
    if kept is None or terms is None:
        return None
    slices = [each for each in kept.slices if each.units]
    videos = sum(each.units for each in slices)

    def over_all(name: str) -> float:
        return float(sum(each.units * each.calibration[name] for each in slices) / videos)

    stopped = count_stopped_by_budget(
        run, *recorded_slices(record), views=record.identity.protocol.views
    )
    prices = None if kept.money is None else record.prices
    return BudgetOutcome(
        budget=(kept.flops if prices is None else kept.money) or 0.0,
        spent=totals.flops if prices is None else _money(run, record, prices),
        currency=None if prices is None else prices.currency,
        agreement=over_all("agreement"),
        low=max(0.0, over_all("low") - stopped / videos),
        guaranteed=terms.agreement,
        stopped_by_budget=stopped,
        videos=videos,
    )


def _money(run: RunDirectory, record: RunRecord, prices: Prices) -> float:
    slices, _ = recorded_slices(record)
    spent = sum(spending(run, slices, record.attempts), Spending())
    return spent.cost(prices).total


def budget_lines(run: RunDirectory, record: RunRecord) -> list[str]:
    """For the summary; none without a budget."""
    found = budget_outcome(run, record)
    if found is None:
        return []
    lines = [
        f"Budget:    {found.said} spent ({100 * found.spent / found.budget:.1f} %)",
        f"           expected to keep {100 * found.agreement:.1f} % of the labels of all views "
        f"({100 * found.low:.1f} % at least; the threshold guarantees "
        f"{100 * found.guaranteed:g} % without a budget)",
    ]
    if found.stopped_by_budget:
        lines.append(
            f"           {found.stopped_by_budget:,} of {found.videos:,} videos reached their "
            f"view limit below the threshold"
        )
    return lines
