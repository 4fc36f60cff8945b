"""Exact binomial bounds, against textbook values, simulation and each other."""

import numpy as np
import pytest

from pipeline.early_exit.binomial import (
    is_provable,
    lower_bound,
    max_misses,
    miss_probability,
    reaches,
    refutes,
    videos_needed,
)


def test_the_binomial_tail_is_that_of_fair_coins():
    assert miss_probability(0, 3, 0.5) == pytest.approx(1 / 8)
    assert miss_probability(1, 3, 0.5) == pytest.approx(4 / 8)
    assert miss_probability(3, 3, 0.5) == 1.0
    assert miss_probability(-1, 3, 0.5) == 0.0
    assert miss_probability(0, 3, 0.0) == 1.0
    assert miss_probability(2, 3, 1.0) == 0.0


def test_the_lower_bound_is_clopper_and_pearsons():
    # One-sided: with no miss the bound has a closed form; 9 of 10 is 1 less qbeta(0.95, 2, 9).
    assert lower_bound(10, 10, 0.95) == pytest.approx(0.05 ** (1 / 10), abs=1e-12)
    assert lower_bound(9, 10, 0.95) == pytest.approx(0.605837, abs=1e-6)
    assert lower_bound(0, 10, 0.95) == pytest.approx(0.0, abs=1e-12)
    assert lower_bound(2000, 2000, 0.95) == pytest.approx(0.05 ** (1 / 2000), abs=1e-12)


def test_the_bound_holds_at_least_as_often_as_it_says():
    draw = np.random.default_rng(0)
    for true in (0.9, 0.99):
        hits = draw.binomial(300, true, size=2000)
        held = np.mean([lower_bound(int(each), 300, 0.95) <= true for each in hits])
        assert 0.94 < held <= 1.0


@pytest.mark.parametrize(("agreement", "videos"), [(0.99, 299), (0.995, 598), (0.5, 5)])
def test_the_fewest_videos_are_those_whose_bound_reaches_the_agreement(agreement, videos):
    assert videos_needed(agreement, 0.95) == videos
    assert lower_bound(videos, videos, 0.95) >= agreement
    assert lower_bound(videos - 1, videos - 1, 0.95) < agreement
    assert max_misses(videos, agreement, 0.95) == 0
    assert max_misses(videos - 1, agreement, 0.95) == -1


def test_one_miss_more_than_the_most_puts_the_bound_below_the_agreement():
    most = max_misses(1200, 0.99, 0.95)
    assert lower_bound(1200 - most, 1200, 0.95) >= 0.99
    assert lower_bound(1200 - most - 1, 1200, 0.95) < 0.99


@pytest.mark.parametrize(("count", "share"), [(10, 0.3), (598, 0.995), (2000, 0.9), (50, 0.999)])
def test_the_most_misses_are_those_that_counting_up_finds(count, share):
    misses = -1
    while misses < count and miss_probability(misses + 1, count, 1 - share) <= 0.05:
        misses += 1
    assert max_misses(count, share, 0.95) == misses
    assert is_provable(count, share, 0.95) == (misses >= 0)


def test_an_agreement_that_needs_billions_of_videos_is_computed_at_once():
    assert videos_needed(1 - 1e-9, 0.95) == pytest.approx(3e9, rel=0.01)
    assert not is_provable(0, 0.5, 0.5)


def test_a_share_is_refuted_only_by_more_misses_than_chance_explains():
    assert not refutes(12, 1200, 0.99, 0.95)
    assert refutes(30, 1200, 0.99, 0.95)
    draw = np.random.default_rng(1)
    misses = draw.binomial(1200, 0.01, size=2000)
    assert np.mean([refutes(int(each), 1200, 0.99, 0.95) for each in misses]) <= 0.06


@pytest.mark.parametrize("thousandths", range(900, 1000))
def test_exactly_the_share_reaches_it_and_one_miss_more_does_not(thousandths):
    misses = 1000 - thousandths
    assert reaches(misses, 1000, thousandths / 1000)
    assert not reaches(misses + 1, 1000, thousandths / 1000)


def test_what_is_no_share_is_refused():
    with pytest.raises(ValueError, match="11 of 10"):
        lower_bound(11, 10, 0.95)
    with pytest.raises(ValueError, match="confidence"):
        lower_bound(1, 10, 1.0)
