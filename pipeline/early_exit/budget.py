"""Runs within a budget: the early exit of each slice, decided from what the slices before cost.

Each decision is stored in run.json under `budget` before its slice begins, so that a resumed run
continues with the same decisions. A budget of FLOPs is never exceeded and gives the same rows in
every run. A budget of money is met as closely as time can be measured, and its rows depend on
the measured times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

from pipeline.early_exit.controller import BudgetError, Decision, decide, observed_ratio
from pipeline.early_exit.file import EarlyExitFile, OperatingPoint
from pipeline.early_exit.spending import Spending, spending
from pipeline.errors import RunError, UsageError
from pipeline.inputs.manifest import count_rows
from pipeline.prices import Prices
from pipeline.run.run_directory import OpenRun, RunDirectory
from pipeline.run.run_record import BudgetRecord, Model, RunRecord, SliceRecord
from pipeline.run.slices import Slice, slices_of, units_per_slice
from workers.inference.early_exit import EarlyExit


@dataclass(frozen=True)
class Budget:
    """What a run may spend on labeling, without the shadow sample.

    Attributes:
        flops: multiply-accumulates; None for a budget of money.
        money: for device time and decoding, in the currency of `prices`; None for one of FLOPs.
        prices: of machines; required for a budget of money.
    """

    flops: float | None = None
    money: float | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        given = [each for each in (self.flops, self.money) if each is not None]
        if len(given) != 1:
            raise UsageError("give either --budget-flops (FLOPs) or --budget-cost, not both")
        if not (math.isfinite(given[0]) and given[0] > 0):
            raise UsageError(f"a budget must be a number above 0; got {given[0]:g}")
        if self.money is not None and self.prices is None:
            raise UsageError("--budget-cost needs --prices FILE with the prices of machines")

    @property
    def kind(self) -> Literal["flops", "money"]:
        """ "flops" or "money"."""
        return "flops" if self.money is None else "money"

    def amount(self, value: float) -> str:
        """A value with the unit of the budget, for messages."""
        if self.prices is None or self.money is None:
            return f"{value:.4g} FLOPs"
        return f"{value:,.2f} {self.prices.currency}"


@dataclass(frozen=True)
class RunPart:
    """A part of a run that is labeled with one early exit.

    Attributes:
        early_exit: when the evaluation of a video stops; None to evaluate every view.
        units: how many it has.
        within: its slice; None for the whole run.
    """

    early_exit: EarlyExit | None
    units: int
    within: Slice | None = None

    def missing(self, run: RunDirectory, done: int) -> int:
        """Units of this part without a row, in a run that has `done` rows."""
        if self.within is None:
            return self.units - done
        return self.units - units_per_slice(run.units, [self.within])[0]


@dataclass(frozen=True)
class LabelingProfile:
    """What labeling a view costs at most.

    Attributes:
        views: of the protocol.
        flops: upper bound of the multiply-accumulates of a view.
    """

    views: int
    flops: int


def max_flops_per_view(model: Model) -> int:
    """Upper bound of the multiply-accumulates of a view."""
    if not model.flops_vary_by_clip:
        return model.flops_per_view
    return max(model.flops_per_view, model.flops_per_view_unpruned)


def parts_within(
    run: OpenRun, budget: Budget, file: EarlyExitFile, labeling: LabelingProfile
) -> Iterator[RunPart]:
    """The parts of a run, each decided when those before it are labeled.

    Args:
        run: what is labeled; its manifest is complete, and its record stores the decisions.
        budget: what it may spend.
        file: the early-exit file; its threshold is used as far as the budget covers it.
        labeling: what a view costs.

    Raises:
        UsageError: the budget does not cover one view of every video, or is smaller than the one
            by which slices were decided.
        RunError: what is left of the budget no longer does.
    """
    before, directory = run.record.budget, run.directory
    decided = before.slices if before is not None else ()
    if before is not None and decided:
        _check_not_smaller(budget, before)
    kept = BudgetRecord(budget.flops, budget.money, count_rows(directory.manifest), decided)
    slices = _slices(kept)
    units = units_per_slice(directory.manifest, slices)
    for each in slices:
        if each.number >= len(decided):
            spent = spending(directory, slices, run.record.attempts) if each.number else []
            taken = _taken(decided, spent)
            left = _views_left(budget, labeling, spent, sum(units[each.number :]))
            try:
                decision = _decided(budget, file, labeling, left, units[each.number :], taken)
            except BudgetError as error:
                rest = units[each.number :]
                raise _too_small(budget, labeling, rest, error, is_first=not decided) from error
            decided = (*decided, _recorded(decision, units[each.number]))
            kept = replace(kept, slices=decided)
            run.update(partial(replace, budget=kept))
        yield RunPart(decided[each.number].early_exit, units[each.number], each)


def recorded_slices(record: RunRecord) -> tuple[list[Slice], list[EarlyExit]]:
    """The slices of a run with early exit, and the early exit of each; one slice without a budget.

    In an unfinished run the last slices may not be decided yet.
    """
    kept, terms = record.budget, record.identity.early_exit
    if kept is None:
        return slices_of(0), [] if terms is None else [terms.early_exit]
    return _slices(kept), [each.early_exit for each in kept.slices]


def _slices(kept: BudgetRecord) -> list[Slice]:
    return slices_of(kept.units, pilot=kept.money is not None)


def _check_not_smaller(budget: Budget, kept: BudgetRecord) -> None:
    before = kept.flops if budget.money is None else kept.money
    asked = budget.flops if budget.money is None else budget.money
    if asked is not None and before is not None and asked < before:
        raise UsageError(
            f"this run was begun with a budget of {budget.amount(before)}; a resumed run takes the "
            f"same budget or a larger one, not {budget.amount(asked)}"
        )


def _recorded(decision: Decision, units: int) -> SliceRecord:
    early_exit = decision.early_exit
    return SliceRecord(early_exit.threshold, early_exit.max_views, units, asdict(decision.point))


def _taken(
    decided: Sequence[SliceRecord], spent: list[Spending]
) -> list[tuple[int, int, OperatingPoint]]:
    """Labeled videos, views and curve point of every slice without a view limit."""
    return [
        (cost.labeled, cost.views, OperatingPoint(**recorded.calibration))
        for recorded, cost in zip(decided, spent, strict=False)
        if recorded.max_views is None
    ]


def check_retry(run: OpenRun, budget: Budget, labeling: LabelingProfile) -> None:
    """Refuses to retry failed videos where that could exceed the budget.

    Args:
        run: what is labeled.
        budget: what it may spend.
        labeling: what a view costs.

    Raises:
        UsageError: the rest of the budget does not cover the most views that they may take.
    """
    kept = run.record.budget
    if kept is None or not kept.slices:
        return
    spent = spending(run.directory, _slices(kept), run.record.attempts)
    begun = list(zip(kept.slices, spent, strict=False))
    ahead = kept.units - sum(recorded.units for recorded, _ in begun)
    failed = sum(cost.retryable for _, cost in begun)
    retries = [
        (slice_.units - cost.units + cost.retryable, slice_.max_views) for slice_, cost in begun
    ]
    needed = ahead + sum(count * (limit or labeling.views) for count, limit in retries)
    left = _views_left(budget, labeling, spent, ahead + sum(count for count, _ in retries))
    if left is not None and left < needed:
        raise UsageError(
            f"retrying {failed:,} failed videos and labeling the rest may take {needed:,} views, "
            f"and the budget covers {max(0, math.floor(left)):,}; give a larger budget or leave "
            f"--retry-failed out"
        )


def _views_left(
    budget: Budget, labeling: LabelingProfile, spent: list[Spending], units: int
) -> float | None:
    """Views that the budget still covers when `units` videos are still to be decoded.

    None where the cost of a view has not been measured yet.
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
    cost = so_far.cost(budget.prices)
    decoding = cost.decoding / so_far.units * units
    if not cost.labeling:
        return math.inf
    return (budget.money - cost.total - decoding) / (cost.labeling / views)


def _decided(
    budget: Budget,
    file: EarlyExitFile,
    labeling: LabelingProfile,
    left: float | None,
    units: list[int],
    taken: list[tuple[int, int, OperatingPoint]],
) -> Decision:
    if left is None or left == math.inf or not units[0]:
        return Decision(file.early_exit, file.point)
    return decide(
        file.curve,
        fitted=file.threshold,
        views=labeling.views,
        left=left,
        mine=units[0],
        rest=sum(units[1:]),
        ratio=observed_ratio(taken),
    )


def _too_small(
    budget: Budget, labeling: LabelingProfile, units: list[int], why: BudgetError, *, is_first: bool
) -> UsageError | RunError:
    """The error of a budget that does not cover one view of each remaining video."""
    if budget.flops is not None and is_first:
        return UsageError(
            f"--budget-flops {budget.flops:g} is too small: a single view of each of the "
            f"{sum(units):,} videos takes {budget.amount(sum(units) * labeling.flops)}"
        )
    return RunError(
        f"the budget of {budget.amount(budget.flops or budget.money or 0)} is used up: {why}",
        advice="Run the same command again with a larger budget to continue.",
    )
