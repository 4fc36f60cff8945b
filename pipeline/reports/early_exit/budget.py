"""Outcome of a budget, for the summary and report.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.early_exit.budget import BUDGET, recorded_slices
from pipeline.early_exit.spending import Spending, count_stopped_by_budget, spending
from pipeline.formatting import digits
from pipeline.prices import Prices
from pipeline.run.attempt_rows import attempts_of
from pipeline.run.run_directory import RunDirectory


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


def budget_outcome(run: RunDirectory, content: dict[str, Any]) -> BudgetOutcome | None:
    """From a finished run and its run.json; None without a budget."""
    kept = content.get(BUDGET)
    if not kept:
        return None
    slices = [each for each in kept["slices"] if each["units"]]
    videos = sum(each["units"] for each in slices)

    def over_all(name: str) -> float:
        return float(sum(each["units"] * each["calibration"][name] for each in slices) / videos)

    stopped = count_stopped_by_budget(run, *recorded_slices(content), views=_views(content))
    currency = None if kept["money"] is None else content["prices"]["currency"]
    return BudgetOutcome(
        budget=kept["flops"] if currency is None else kept["money"],
        spent=content["totals"]["flops"] if currency is None else _money(run, content),
        currency=currency,
        agreement=over_all("agreement"),
        low=max(0.0, over_all("low") - stopped / videos),
        guaranteed=content["identity"]["early_exit"]["agreement"],
        stopped_by_budget=stopped,
        videos=videos,
    )


def _money(run: RunDirectory, content: dict[str, Any]) -> float:
    slices, _ = recorded_slices(content)
    spent = sum(spending(run, slices, attempts_of(content)), Spending())
    return spent.bill(Prices.from_json(content["prices"])).total


def _views(content: dict[str, Any]) -> int:
    protocol = content["identity"]["protocol"]
    return int(protocol["clips"] * protocol["crops"])


def budget_lines(run: RunDirectory, content: dict[str, Any]) -> list[str]:
    """For the summary; none without a budget."""
    found = budget_outcome(run, content)
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
