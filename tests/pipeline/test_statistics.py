"""Agreement: known values, and intervals that hold as often as they say."""

import numpy as np
import pytest

from pipeline.statistics import (
    Estimate,
    fisher_exact,
    holm,
    jensen_shannon,
    mean,
    ratio,
    share,
    share_difference,
    top_overlap,
    weighted_share,
)


def test_a_share_has_wilsons_interval():
    # Agresti and Coull 1998: 9 of 10 and 0 of 20.
    found = share(9, 10)
    assert (found.value, found.count) == (0.9, 10)
    assert (found.low, found.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    none = share(0, 20)
    assert none.low == 0.0
    assert none.high == pytest.approx(0.1611, abs=1e-4)
    assert share(20, 20).high == 1.0


def test_a_share_of_nothing_is_unknown_and_more_than_all_is_refused():
    assert np.isnan(share(0, 0).value)
    with pytest.raises(ValueError, match="0 to 3"):
        share(4, 3)


def test_a_means_interval_holds_the_truth_about_19_times_in_20():
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        found = mean(draw.exponential(size=60))
        held += found.low <= 1.0 <= found.high
    assert 85 <= held <= 99


def test_views_of_one_recording_do_not_count_as_independent():
    # Ten recordings of 100 views that agree all or not at all tell no more than ten do.
    agreeing = np.array([100.0] * 9 + [0.0])
    clustered, naive = ratio(agreeing, np.full(10, 100.0)), share(900, 1000)
    assert clustered.value == naive.value == 0.9
    assert clustered.high - clustered.low > 4 * (naive.high - naive.low)


def test_an_interval_is_the_same_each_time():
    values = np.random.default_rng(1).random(2000)
    assert mean(values) == mean(values)


def test_overlap_of_the_top_classes_knows_no_order():
    one = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    other = np.array([[5, 4, 3, 2, 1], [1, 9, 8, 7, 6]])
    assert top_overlap(one, other).tolist() == [1.0, 0.2]


def test_jensen_shannon_is_0_for_equals_1_for_strangers_and_knows_no_order():
    one = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.75, 0.25, 0.0]], np.float32)
    other = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.25, 0.75, 0.0]], np.float32)
    found = jensen_shannon(one, other)
    assert found == pytest.approx([0.0, 1.0, 0.18872], abs=1e-5)
    assert jensen_shannon(other, one) == pytest.approx(found)


def test_differences_in_points_have_signs_and_a_zero_has_none_but_plus():
    assert Estimate(-0.115, -0.16, 0.0, 9).points() == "-11.5 points (-16.0 to +0.0)"
    assert Estimate(-0.0, -0.0004, 0.0, 9).points() == "+0.0 points (+0.0 to +0.0)"
    assert Estimate(0.001, 0.0, 0.002, 9).points(places=2) == "+0.10 points (+0.00 to +0.20)"


def test_a_difference_of_shares_has_newcombes_interval():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10.
    found = share_difference(56, 70, 48, 80)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    found = share_difference(9, 10, 3, 10)
    assert found.value == pytest.approx(0.6)
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert np.isnan(share_difference(0, 0, 1, 2).value)


def test_fishers_test_has_its_known_values():
    # Fisher's tea tasting, and R's fisher.test of 3 of 15 against 10 of 15 and of 0 against 0.
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(0.4857, abs=1e-4)
    assert fisher_exact(3, 15, 10, 15) == pytest.approx(0.0253, abs=1e-4)
    assert fisher_exact(0, 5, 0, 9) == 1.0
    assert fisher_exact(5, 5, 9, 9) == 1.0
    assert fisher_exact(40_000, 100_000, 41_000, 100_000) < 1e-5


def test_adjusted_p_values_are_those_of_holm():
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert len(holm(np.array([]))) == 0


def test_a_weighted_share_of_equal_weights_is_a_share():
    hits = np.array([1.0] * 9 + [0.0])
    found, expected = weighted_share(hits, np.full(10, 0.3)), share(9, 10)
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_mean_of_classes_is_less_certain_than_a_share_of_as_many_videos():
    hits = np.array([1.0] * 90 + [0.0] * 10)
    weights = np.array([1.0] * 95 + [20.0] * 5)
    found, plain = weighted_share(hits, weights), share(90, 100)
    assert found.high - found.low > 2 * (plain.high - plain.low)
    assert weighted_share(np.ones(4), np.array([0.1, 0.2, 0.3, 0.1])).high == 1.0
    assert np.isnan(weighted_share(np.zeros(0), np.zeros(0)).value)
