from __future__ import annotations

import numpy as np
import pytest

from pipeline.early_exit.controller import BudgetError, decide, observed_ratio
from pipeline.early_exit.file import OperatingPoint
from pipeline.run.slices import slice_numbers, slices_of
from workers.inference.early_exit import EarlyExit

VIEWS = 15
CURVE = tuple(
    OperatingPoint(
        threshold=threshold, agreement=agreement, low=agreement - 0.01, views=views, views_sd=1.0
    )
    for threshold, agreement, views in (
        (2.0, 1.0, 7.0),
        (1.0, 0.995, 3.0),
        (0.5, 0.98, 1.5),
        (0.0, 0.93, 1.0),
    )
)


def decided(left: float, mine: int, rest: int, ratio: float = 1.0) -> EarlyExit:
    return decide(
        CURVE, fitted=1.0, views=VIEWS, left=left, mine=mine, rest=rest, ratio=ratio
    ).early_exit


def test_a_large_budget_buys_the_fitted_threshold_and_no_more() -> None:
    assert decided(left=15_000, mine=100, rest=900) == EarlyExit(1.0)


def test_a_smaller_budget_buys_the_largest_threshold_that_it_is_expected_to_cover() -> None:
    assert decided(left=2_000, mine=10, rest=990).threshold == 0.5
    assert decided(left=1_200, mine=10, rest=990).threshold == 0.0


def test_an_archive_that_takes_more_views_than_the_calibration_gets_a_smaller_threshold() -> None:
    assert decided(left=3_000, mine=10, rest=990).threshold == 1.0
    assert decided(left=3_000, mine=10, rest=990, ratio=2.0).threshold == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_the_total_never_passes_the_budget_whatever_the_archive_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slices = [int(count) for count in rng.integers(1, 60, size=8)]
    left = float(sum(slices) * rng.uniform(1.0, 5.0))
    for number, mine in enumerate(slices):
        early_exit = decided(left=left, mine=mine, rest=sum(slices[number + 1 :]))
        worst = early_exit.max_views or VIEWS
        left -= int(rng.integers(mine, mine * worst + 1)) if number % 2 else mine * worst
    assert left >= 0


def test_a_budget_below_one_view_of_each_video_is_refused() -> None:
    with pytest.raises(
        BudgetError, match="100 videos need a view each, and the budget covers 99 views"
    ):
        decided(left=99, mine=50, rest=50)


def test_the_ratio_compares_the_views_after_the_first() -> None:
    three = CURVE[1]
    assert observed_ratio([]) == 1.0
    assert observed_ratio([(100, 300, three)]) == 1.0
    assert observed_ratio([(100, 500, three)]) == 2.0
    assert observed_ratio([(100, 100, CURVE[-1])]) == 1.0


def test_slices_share_the_units_evenly_and_each_unit_is_in_one() -> None:
    rng = np.random.default_rng(0)
    ids = [rng.bytes(10).hex() for _ in range(4000)]
    slices = slices_of(len(ids))
    numbers = slice_numbers(ids, slices)
    assert len(slices) == 8
    assert np.bincount(numbers).min() > 400
    for each in slices:
        inside = [i >= each.low and (each.high is None or i < each.high) for i in ids]
        assert inside == (numbers == each.number).tolist()
        assert inside == (slice_numbers(ids, [each]) == 0).tolist()


def test_a_small_run_has_fewer_slices() -> None:
    assert [len(slices_of(units)) for units in (0, 127, 128, 511, 512, 10**9)] == [
        1, 1, 2, 7, 8, 8
    ]  # fmt: skip


@pytest.mark.parametrize("units", [2, 5, 40, 200, 1000, 10**5, 10**9])
def test_a_pilot_is_cut_off_the_first_slice_and_small(units: int) -> None:
    whole, cut = slices_of(units), slices_of(units, pilot=True)
    lows = [each.low for each in cut]
    assert lows == sorted(set(lows))
    assert {each.low for each in whole} | {cut[1].low} == set(lows)
    assert len(cut) == len(whole) + 1
    expected = int(cut[1].low, 16) / 16**12 * units
    assert min(8, units // 2) <= round(expected) <= max(8, min(1024, units / 16))


def test_a_run_of_one_has_no_pilot() -> None:
    assert slices_of(1, pilot=True) == slices_of(1)
