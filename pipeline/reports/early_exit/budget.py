"""What a budget bought, for people and for report.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.early_exit.budget import BUDGET, early_exits_by_slice
from pipeline.early_exit.spending import Spending, cut_short, spending
from pipeline.formatting import digits
from pipeline.prices import Prices
from pipeline.run.attempt_rows import attempts_of
from pipeline.run.run_directory import RunDirectory


@dataclass(frozen=True)
class Bought:
    """What a run spent, and the share of labels that it is expected to keep.

    Attributes:
        budget: FLOPs, or money.
        spent: of the same.
        currency: None for FLOPs.
        agreement: share of the calibration's videos that kept the label of all views under what
            was decided, over all slices.
        low: the same of the lower ends of the one-sided intervals, as if every video that was
            given up had lost its label.
        promised: share that the policy promises.
        cut_short: videos that were given up unsettled, since what the budget left had to reach for
            the others; the calibration says nothing of these.
        videos: of all slices.
    """

    budget: float
    spent: float
    currency: str | None
    agreement: float
    low: float
    promised: float
    cut_short: int
    videos: int

    @property
    def said(self) -> str:
        """What was spent of what, for people."""
        if self.currency is None:
            return f"{digits(self.spent / 1e12, 4)} T of {digits(self.budget / 1e12, 4)} T FLOPs"
        return f"{digits(self.spent)} of {digits(self.budget)} {self.currency}, by the work's time,"


def bought(run: RunDirectory, content: dict[str, Any]) -> Bought | None:
    """From a finished run and its run.json; None without a budget."""
    kept = content.get(BUDGET)
    if not kept:
        return None
    slices = [each for each in kept["slices"] if each["units"]]
    videos = sum(each["units"] for each in slices)

    def over_all(name: str) -> float:
        return float(sum(each["units"] * each["calibration"][name] for each in slices) / videos)

    given_up = cut_short(run, *early_exits_by_slice(content), views=_views(content))
    currency = None if kept["money"] is None else content["prices"]["currency"]
    return Bought(
        budget=kept["flops"] if currency is None else kept["money"],
        spent=content["totals"]["flops"] if currency is None else _money(run, content),
        currency=currency,
        agreement=over_all("agreement"),
        low=max(0.0, over_all("low") - given_up / videos),
        promised=content["identity"]["early_exit"]["agreement"],
        cut_short=given_up,
        videos=videos,
    )


def _money(run: RunDirectory, content: dict[str, Any]) -> float:
    slices, _ = early_exits_by_slice(content)
    spent = sum(spending(run, slices, attempts_of(content)), Spending())
    return spent.bill(Prices.from_json(content["prices"])).total


def _views(content: dict[str, Any]) -> int:
    protocol = content["identity"]["protocol"]
    return int(protocol["clips"] * protocol["crops"])


def budget_lines(run: RunDirectory, content: dict[str, Any]) -> list[str]:
    """For the summary; none without a budget."""
    found = bought(run, content)
    if found is None:
        return []
    lines = [
        f"Budget:    {found.said} spent ({100 * found.spent / found.budget:.1f} %)",
        f"           bought {100 * found.agreement:.1f} % of the labels of a full look "
        f"({100 * found.low:.1f} % at least; {100 * found.promised:g} % was promised), by the "
        f"calibration's videos",
    ]
    if found.cut_short:
        lines.append(
            f"           {found.cut_short:,} of {found.videos:,} videos were given up before they "
            f"were settled, so that a view was left for each of the others"
        )
    return lines
