"""Both sides of a difference grow until the squares of what they contribute are small enough."""

import math

import pytest

from pipeline.questions.contributions import Contribution, contributed, expected_half_width


def test_sides_that_are_alike_contribute_the_same():
    side = Contribution(0.05, 1_000_000, 400)
    one, other = contributed((side, side), half_width=0.02, within=0.01)
    assert one == other == pytest.approx((0.02 / math.sqrt(2), 0.01 / math.sqrt(2)), rel=1e-3)


@pytest.mark.parametrize("units", [1_000_000, 3_000])
def test_the_squares_of_both_add_up_to_what_is_wanted(units):
    sides = Contribution(0.2, 1_000_000, 300), Contribution(0.02, units, 500)
    halves = contributed(sides, half_width=0.05, within=0.01)
    for number, width in enumerate((0.05, 0.01)):
        assert math.hypot(*(each[number] for each in halves)) == pytest.approx(width, rel=1e-3)


def test_sizes_are_in_proportion_to_the_deviations():
    sides = Contribution(0.16, 10**9, 100), Contribution(0.01, 10**9, 100)
    one, other = contributed(sides, half_width=0.1, within=0.01)
    counts = [100 * (now / aim) ** 2 for now, aim in (one, other)]
    assert counts[0] == pytest.approx(4 * counts[1], rel=1e-3)


def test_a_side_that_knows_enough_stays_as_it_is():
    sides = Contribution(0.2, 10**6, 100), Contribution(0.2, 10**6, 50_000)
    one, other = contributed(sides, half_width=0.1, within=0.08)
    assert other[0] == pytest.approx(other[1])
    assert one[1] < one[0]


def test_a_small_side_is_seen_in_full_before_the_other_takes_more():
    sides = Contribution(0.2, 1_000, 500), Contribution(0.2, 10**6, 500)
    small, large = contributed(sides, half_width=0.08, within=0.01)
    assert small[1] == pytest.approx(1e-5)
    assert large[1] == pytest.approx(0.01, rel=1e-3)


def test_a_side_that_is_known_leaves_everything_to_the_other():
    sides = Contribution(0.2, 1_000, 1_000), Contribution(0.2, 10**6, 500)
    known, other = contributed(sides, half_width=0.04, within=0.01)
    assert known[0] == 0
    assert other == pytest.approx((0.04, 0.01), rel=1e-3)


def test_before_anything_is_known_both_grow_alike():
    side = Contribution(0.0, 1_000, 5)
    for half_width in (math.inf, 0.5):
        one, other = contributed((side, side), half_width, 0.1)
        assert one == other == (half_width, 0.1 / math.sqrt(2))


def test_a_difference_that_should_be_narrow_by_now_still_grows():
    side = Contribution(0.05, 1_000_000, 400)
    for now, aim in contributed((side, side), half_width=0.005, within=0.01):
        assert 1.04 < now / aim < 1.06


def test_the_expected_width_follows_from_the_variances():
    sides = Contribution(0.04, 10**9, 100), Contribution(0.09, 10**9, 300)
    expected = math.sqrt(2 * math.log(40) * (0.04 / 100 + 0.09 / 300))
    assert expected_half_width(sides, 0.05) == pytest.approx(expected, rel=1e-3)
