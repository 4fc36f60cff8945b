"""What a budget bought, for people and for report.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.numerals import digits
from pipeline.policies.budget import BUDGET
from pipeline.prices import Prices


@dataclass(frozen=True)
class Bought:
    """What a run spent, and the share of labels that it is expected to keep.

    Attributes:
        budget: FLOPs, or money.
        spent: of the same.
        currency: None for FLOPs.
        agreement: share of the calibration's videos that kept the label of all views under what
            was decided, over all slices.
        low: the same of the lower ends of the one-sided intervals.
        promised: share that the policy promises.
        limited: videos of slices in which the number of views was limited too, which the
            calibration says nothing of.
        videos: of all slices.
        most_careful: largest margin of a slice.
        quickest: smallest margin of a slice.
    """

    budget: float
    spent: float
    currency: str | None
    agreement: float
    low: float
    promised: float
    limited: int
    videos: int
    most_careful: float
    quickest: float


def bought(content: dict[str, Any]) -> Bought | None:
    """From the run.json of a finished run; None without a budget."""
    kept = content.get(BUDGET)
    if not kept:
        return None
    slices = [each for each in kept["slices"] if each["units"]]
    videos = sum(each["units"] for each in slices)

    def over_all(name: str) -> float:
        return float(sum(each["units"] * each["calibration"][name] for each in slices) / videos)

    currency = None if kept["money"] is None else content["prices"]["currency"]
    return Bought(
        budget=kept["flops"] if currency is None else kept["money"],
        spent=content["totals"]["flops"] if currency is None else _money(content),
        currency=currency,
        agreement=over_all("agreement"),
        low=over_all("low"),
        promised=content["identity"]["policy"]["agreement"],
        limited=sum(each["units"] for each in slices if each["most"] is not None),
        videos=videos,
        most_careful=max(each["margin"] for each in slices),
        quickest=min(each["margin"] for each in slices),
    )


def _money(content: dict[str, Any]) -> float:
    prices, start = Prices.from_json(content["prices"]), content["starts"][-1]
    second = prices.device_second(gpus=start["labeller_gpus"], cores=start["labeller_cpus"])
    totals = content["totals"]
    return float(totals["gpu_ms"] * second + totals["decode_ms"] * prices.core_second) / 1e3


def budget_lines(content: dict[str, Any]) -> list[str]:
    """For the summary; none without a budget."""
    found = bought(content)
    if found is None:
        return []
    spent, budget = found.spent, found.budget
    if found.currency is None:
        line = f"{digits(spent / 1e12, 4)} T of {digits(budget / 1e12, 4)} T FLOPs"
    else:
        line = f"{digits(spent)} of {digits(budget)} {found.currency} by the work's time"
    lines = [
        f"Budget:    {line} ({100 * spent / budget:.1f} %)",
        f"           bought {100 * found.agreement:.1f} % of the labels of a full look "
        f"({100 * found.low:.1f} % at least; {100 * found.promised:g} % was promised), by the "
        f"calibration's videos",
    ]
    if found.limited:
        lines.append(
            f"           {found.limited:,} of {found.videos:,} videos could not be looked at as "
            f"often as that takes: what the budget left had to reach for the others"
        )
    return lines
