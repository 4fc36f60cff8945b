"""Sizes of rounds: a group has its part of what answers for all, and further units of its own."""

import numpy as np
import pytest

from pipeline.questions.intervals.allocation import Costs
from pipeline.questions.rounds import Sizes, Wanted, by_plan, by_width, pilot, too_wide

POPULATIONS = (9_000, 1_000)


def wanted(group, count, *, half_width=0.1, within=0.02):
    rng = np.random.default_rng(0)
    reference = (rng.random(count) < 0.3).astype(float)
    units = sum(POPULATIONS) if group is None else POPULATIONS[group]
    return Wanted(group, reference, reference, units, 0.05, half_width, within)


def sizes(*, reference=0, references=(0, 0), proxy=0, proxies=(0, 0)):
    return Sizes(POPULATIONS, reference, proxy, references, proxies)


def test_the_first_round_has_units_of_every_group():
    first = pilot(POPULATIONS, has_proxy=True, most=10_000)
    assert first.of(None) == (200, 200)
    assert first.of(0) == (180, 180)
    assert first.of(1) == (50, 50)
    assert first.labeled == 230


def test_groups_that_are_asked_for_alone_have_the_first_round_to_themselves():
    first = pilot((9_000, 1_000, 100), has_proxy=True, most=11_000, only=(1, 2))
    assert [first.of(group) for group in range(3)] == [(0, 0), (200, 200), (100, 100)]
    assert first.labeled == 300


def test_without_a_proxy_none_is_scored():
    assert pilot((500,), has_proxy=False, most=500).of(0) == (200, 0)


def test_a_group_that_is_known_gets_no_further_units_of_its_own():
    seen = sizes(reference=200, references=(0, 50))
    larger = by_width(seen, [wanted(1, 50)], most=10_000)
    assert larger.of(None) == seen.of(None)
    assert larger.of(0) == seen.of(0)
    assert larger.of(1)[0] > 50


def test_what_answers_for_all_raises_every_group_by_its_share():
    seen = sizes(reference=200, references=(0, 50))
    larger = by_width(seen, [wanted(None, 200)], most=10_000)
    assert larger.of(0)[0] == pytest.approx(0.9 * larger.reference, abs=1)
    assert larger.of(1)[0] == max(50, round(0.1 * larger.reference))


def test_a_round_with_a_proxy_has_a_score_for_every_reference():
    seen = sizes(reference=200, references=(0, 50), proxy=200, proxies=(0, 50))
    larger = by_plan(seen, [wanted(None, 200), wanted(1, 50)], costs=Costs(1, 0.1), most=10_000)
    for group in (None, 0, 1):
        reference, proxy = larger.of(group)
        assert proxy >= reference > seen.of(group)[0]


@pytest.mark.parametrize("most", [20, 100, 231, 400])
def test_no_round_exceeds_the_largest_number_of_references(most):
    first = pilot(POPULATIONS, has_proxy=True, most=most)
    assert first.labeled <= most
    everything = [wanted(None, 20, within=0.001), wanted(1, 5, within=0.001)]
    larger = by_width(first, everything, most=most)
    assert first.labeled <= larger.labeled <= most
    assert larger.labeled >= 0.9 * min(most, 1.2 * first.labeled)


def test_what_is_expected_to_be_too_wide_grows_and_else_the_widest():
    assert too_wide([0.03, 0.01, 0.021], 0.02) == [True, False, True]
    assert too_wide([0.015, 0.01, 0.013], 0.02) == [True, False, True]
    assert too_wide([0.0, 0.001], 0.02) == [False, True]


@pytest.mark.parametrize("populations", [(100,) * 50, (10_000, *(100,) * 49), (10,) * 25])
@pytest.mark.parametrize("most", [20, 49, 51])
def test_fewer_references_than_groups_answer_for_all_units(populations, most):
    first = pilot(populations, has_proxy=True, most=most)
    assert first.reference == most
    assert first.labeled <= most


def test_nothing_grows_beyond_its_population():
    larger = sizes(reference=9_900, references=(0, 990))
    for _ in range(3):
        everything = [wanted(None, 9_900, within=1e-6), wanted(1, 990, within=1e-6)]
        larger = by_width(larger, everything, most=10_000)
    assert larger.labeled == 10_000
