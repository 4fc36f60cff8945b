"""A run within a budget: its slices, what was decided for each, and what they have cost.

What was decided stands in run.json under `budget` before the slice begins, so that a resumed run
goes on as it began. A budget of FLOPs is kept to the last one and gives the same rows in every run;
one of money is kept as far as time can be measured, and what it buys follows from that time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.early_exit.controller import BudgetError, Decision, decide, observed_ratio
from pipeline.early_exit.early_exit_file import EarlyExitFile, Point
from pipeline.early_exit.spending import Spending, spending
from pipeline.errors import RunError, UsageError
from pipeline.inputs.manifest import count_rows
from pipeline.prices import Prices
from pipeline.run.attempt_rows import attempts_of
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import Slice, slices_of, units_per_slice
from workers.inference.early_exit import EarlyExit

BUDGET = "budget"


@dataclass(frozen=True)
class Budget:
    """What a run may spend on labeling, the shadow sample apart.

    Attributes:
        flops: multiply-accumulates; None for a budget of money.
        money: for device time and decoding, in the currency of `prices`; None for one of FLOPs.
        prices: what machines cost; needed for a budget of money.
    """

    flops: float | None = None
    money: float | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        given = [each for each in (self.flops, self.money) if each is not None]
        if len(given) != 1:
            raise UsageError("name --budget-flops (FLOPs) or --budget-cost, one of them")
        if not (math.isfinite(given[0]) and given[0] > 0):
            raise UsageError(f"a budget must be a number above 0; got {given[0]:g}")
        if self.money is not None and self.prices is None:
            raise UsageError("--budget-cost needs --prices, which say what machines cost")

    @property
    def kind(self) -> str:
        """ "flops" or "money"."""
        return "flops" if self.money is None else "money"

    def amount(self, value: float) -> str:
        """A number of what it is in, for people."""
        if self.prices is None or self.money is None:
            return f"{value:.4g} FLOPs"
        return f"{value:,.2f} {self.prices.currency}"


@dataclass(frozen=True)
class Part:
    """A part of a run that is labeled in one go.

    Attributes:
        policy: when a video of it has been looked at enough; None for every view.
        units: how many it has.
        within: the slice that it is; None for the whole run.
    """

    early_exit: EarlyExit | None
    units: int
    within: Slice | None = None

    def missing(self, run: RunDirectory, done: int) -> int:
        """Units of it that have no row, in a run that has `done` rows."""
        if self.within is None:
            return self.units - done
        return self.units - units_per_slice(run.units, [self.within])[0]


@dataclass(frozen=True)
class Labeling:
    """What the controller has to know of a run's labeling.

    Attributes:
        views: of the protocol.
        flops: multiply-accumulates of a view, at the most.
    """

    views: int
    flops: int


def most_flops(model: dict[str, Any]) -> int:
    """Multiply-accumulates that a view takes at the most, by what run.json says of the model."""
    pruned = int(model["flops_per_view"])
    # Where they follow the clip, `pruned` is that of a typical one.
    return max(pruned, model["flops_per_view_unpruned"]) if model["flops_follow_clip"] else pruned


def parts_within(
    run: RunDirectory,
    content: dict[str, Any],
    budget: Budget,
    file: EarlyExitFile,
    labeling: Labeling,
) -> Iterator[Part]:
    """The parts of a run, each decided when those before it are labeled.

    Args:
        run: what is labeled; its manifest is whole.
        content: its run.json, in which decisions are kept.
        budget: what it may spend.
        file: the policy whose promise it keeps where the budget allows.
        labeling: what a view costs.

    Raises:
        UsageError: the budget covers not one view of every video, or is smaller than one by which
            slices were decided.
        RunError: it does no more, with what was spent so far.
    """
    kept = content.setdefault(BUDGET, {})
    decided = kept.setdefault("slices", [])
    if decided:
        _check_not_smaller(budget, kept)
    kept |= {"flops": budget.flops, "money": budget.money, "units": count_rows(run.manifest)}
    slices = _slices(kept)
    units = units_per_slice(run.manifest, slices)
    for each in slices:
        if each.number >= len(decided):
            spent = spending(run, slices, attempts_of(content)) if each.number else []
            taken = _taken(decided, spent)
            left = _views_left(budget, labeling, spent, sum(units[each.number :]))
            try:
                decision = _decided(budget, file, labeling, left, units[each.number :], taken)
            except BudgetError as error:
                rest = units[each.number :]
                raise _too_small(budget, labeling, rest, error, is_first=not decided) from error
            decided.append(_recorded(decision, units[each.number]))
            run.save(content)
        yield Part(early_exit_of(decided[each.number]), units[each.number], each)


def early_exit_of(recorded: dict[str, Any]) -> EarlyExit:
    """The policy of a slice, as run.json says it."""
    return EarlyExit(recorded["threshold"], recorded["max_views"])


def early_exits_by_slice(content: dict[str, Any]) -> tuple[list[Slice], list[EarlyExit]]:
    """The slices of a run with a policy and how each was looked at; without a budget one of all.

    Of an unfinished run the last slices may not be decided yet.
    """
    kept = content.get(BUDGET)
    if not kept:
        early_exit = content["identity"]["early_exit"]
        return slices_of(0), [EarlyExit(early_exit["threshold"], early_exit["max_views"])]
    return _slices(kept), [early_exit_of(each) for each in kept["slices"]]


def _slices(kept: dict[str, Any]) -> list[Slice]:
    return slices_of(kept["units"], pilot=kept["money"] is not None)


def _check_not_smaller(budget: Budget, kept: dict[str, Any]) -> None:
    before = kept["flops"] if budget.money is None else kept["money"]
    asked = budget.flops if budget.money is None else budget.money
    if asked is not None and asked < before:
        raise UsageError(
            f"this run's videos are looked at as {budget.amount(before)} allow; a resumed run "
            f"takes the same budget or a larger one, and not {budget.amount(asked)}"
        )


def _recorded(decision: Decision, units: int) -> dict[str, Any]:
    early_exit = asdict(decision.early_exit)
    return early_exit | {"units": units, "calibration": asdict(decision.point)}


def _taken(decided: list[dict[str, Any]], spent: list[Spending]) -> list[tuple[int, int, Point]]:
    """Videos, views and expectation of every slice whose videos were looked at as its threshold
    says, none of them cut short.
    """
    return [
        (cost.labeled, cost.views, Point(**recorded["calibration"]))
        for recorded, cost in zip(decided, spent, strict=False)
        if recorded["max_views"] is None
    ]


def check_retry(
    run: RunDirectory, content: dict[str, Any], budget: Budget, labeling: Labeling
) -> None:
    """Refuses to do failed videos again where that could pass the budget.

    Args:
        run: what is labeled.
        content: its run.json.
        budget: what it may spend.
        labeling: what a view costs.

    Raises:
        UsageError: the budget that is left does not cover the most views that they may take.
    """
    kept = content.get(BUDGET)
    if not kept or not kept["slices"]:
        return
    spent = spending(run, _slices(kept), attempts_of(content))
    begun = list(zip(kept["slices"], spent, strict=False))
    ahead = kept["units"] - sum(recorded["units"] for recorded, _ in begun)
    failed = sum(cost.retryable for _, cost in begun)
    again = [
        (slice_["units"] - cost.units + cost.retryable, slice_["max_views"])
        for slice_, cost in begun
    ]
    needed = ahead + sum(count * (max_views or labeling.views) for count, max_views in again)
    left = _views_left(budget, labeling, spent, ahead + sum(count for count, _ in again))
    if left is not None and left < needed:
        raise UsageError(
            f"doing {failed:,} failed videos again may take {needed:,} views with what else is to "
            f"be done, and the budget covers {max(0, math.floor(left)):,}; name a larger budget, "
            f"or leave --retry-failed out"
        )


def _views_left(
    budget: Budget, labeling: Labeling, spent: list[Spending], units: int
) -> float | None:
    """Views that the budget still covers when `units` videos are still to be decoded; None where
    nothing tells yet what a view costs.
    """
    views = sum(cost.views for cost in spent)
    if budget.flops is not None:
        flops = sum(cost.flops for cost in spent)
        return (budget.flops - flops) / max(labeling.flops, flops / views if views else 0)
    assert budget.money is not None
    assert budget.prices is not None
    if not views:
        return None
    so_far = sum(spent, Spending())
    bill = so_far.bill(budget.prices)
    decoding = bill.decoding / so_far.units * units
    if not bill.labeling:
        return math.inf
    return (budget.money - bill.total - decoding) / (bill.labeling / views)


def _decided(
    budget: Budget,
    file: EarlyExitFile,
    labeling: Labeling,
    left: float | None,
    units: list[int],
    taken: list[tuple[int, int, Point]],
) -> Decision:
    if left is None or left == math.inf or not units[0]:
        return Decision(file.early_exit, file.point)
    return decide(
        file.curve,
        promised=file.threshold,
        views=labeling.views,
        left=left,
        mine=units[0],
        rest=sum(units[1:]),
        ratio=observed_ratio(taken),
    )


def _too_small(
    budget: Budget, labeling: Labeling, units: list[int], why: BudgetError, *, is_first: bool
) -> UsageError | RunError:
    """Of a budget that covers not one view of each of the videos of the slices that are left."""
    if budget.flops is not None and is_first:
        return UsageError(
            f"--budget-flops {budget.flops:g} is too small: a single view of each of the "
            f"{sum(units):,} videos takes {budget.amount(sum(units) * labeling.flops)}"
        )
    return RunError(
        f"the budget of {budget.amount(budget.flops or budget.money or 0)} is nearly spent: {why}",
        advice="Name a larger budget and run the same command again to go on.",
    )
