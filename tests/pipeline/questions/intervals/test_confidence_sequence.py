import math
import tracemalloc

import numpy as np
import pytest

from pipeline.questions.intervals.confidence_sequence import Interval, MeanSequence
from tests.pipeline.questions.intervals.samples import most_misses, rounds, shares


def _looks(values, sequence, first=50, factor=1.5):
    return [sequence.add(values[part]) for part in rounds(len(values), first, factor)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_an_interval_holds_the_mean_at_every_look(share):
    draw = np.random.default_rng(1)
    population = shares(2_000, share)
    draws, missed = 60, 0
    for _ in range(draws):
        looks = _looks(draw.permutation(population), MeanSequence(2_000, alpha=0.2))
        missed += any(not each.low <= share <= each.high for each in looks)
    assert missed <= most_misses(draws, 0.2)


def test_draws_with_replacement_need_no_population():
    draw = np.random.default_rng(2)
    draws, missed = 60, 0
    for _ in range(draws):
        values = draw.beta(1, 9, size=1_000)
        looks = _looks(values, MeanSequence(None, alpha=0.2))
        missed += any(not each.low <= 0.1 <= each.high for each in looks)
    assert missed <= most_misses(draws, 0.2)


def test_an_interval_never_grows():
    values = np.random.default_rng(3).random(3_000)
    looks = _looks(values, MeanSequence(3_000))
    lows, highs = [each.low for each in looks], [each.high for each in looks]
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)


@pytest.mark.parametrize("kind", ["shares", "numbers", "zeros", "ones"])
def test_the_whole_population_gives_its_exact_mean(kind):
    values = {
        "shares": shares(500, 0.1),
        "numbers": np.random.default_rng(4).random(500),
        "zeros": np.zeros(500),
        "ones": np.ones(500),
    }[kind]
    last = _looks(np.random.default_rng(5).permutation(values), MeanSequence(500))[-1]
    assert last.low == pytest.approx(values.mean(), abs=1e-9)
    assert last.high == pytest.approx(values.mean(), abs=1e-9)
    assert last.estimate == pytest.approx(values.mean())


def test_a_population_of_one_unit_is_known_after_that_unit():
    found = MeanSequence(1).add([1.0])
    assert (found.low, found.high, found.count) == (1.0, 1.0, 1)


def test_nothing_is_known_before_the_first_unit():
    found = MeanSequence(10).add([])
    assert math.isnan(found.estimate)
    assert (found.low, found.high, found.count) == (0.0, 1.0, 0)


def test_looks_that_exclude_each_other_end_between_both():
    found = Interval(2.0, 1.9, 2.1, 300).since(1.0, 1.5)
    assert (found.low, found.estimate, found.high) == pytest.approx((1.7, 1.7, 1.7))
    kept = Interval(2.0, 1.9, 2.1, 300).since(1.95, math.inf)
    assert (kept.low, kept.estimate, kept.high) == (1.95, 2.0, 2.1)


def test_an_interval_follows_a_change_of_scale():
    values = np.random.default_rng(6).random(400)
    plain = _looks(values, MeanSequence(400, within=0.05))[3]
    scaled = _looks(values * 8 - 3, MeanSequence(400, low=-3, high=5, within=0.4))[3]
    assert scaled.low == pytest.approx(plain.low * 8 - 3, abs=1e-9)
    assert scaled.high == pytest.approx(plain.high * 8 - 3, abs=1e-9)
    assert scaled.half_width == pytest.approx(plain.half_width * 8)


def test_an_interval_is_mirrored_where_the_numbers_are():
    values = np.random.default_rng(7).random(400) ** 3
    plain = _looks(values, MeanSequence(400))[3]
    mirrored = _looks(1 - values, MeanSequence(400))[3]
    assert mirrored.low == pytest.approx(1 - plain.high, abs=1e-9)
    assert mirrored.high == pytest.approx(1 - plain.low, abs=1e-9)


def test_the_order_within_a_round_does_not_matter():
    draw = np.random.default_rng(8)
    one, other = MeanSequence(1_000), MeanSequence(1_000)
    values = draw.random(300)
    for part in rounds(300, 100, 1.5):
        found = one.add(values[part])
        again = other.add(draw.permutation(values[part]))
    assert again.low == pytest.approx(found.low, abs=1e-9)
    assert again.high == pytest.approx(found.high, abs=1e-9)


def test_aiming_at_a_width_reaches_it_with_about_twice_the_units_of_one_fixed_sample():
    draw = np.random.default_rng(9)
    values = draw.permutation(shares(100_000, 0.3))
    sequence = MeanSequence(100_000, within=0.02)
    for part in rounds(100_000, 200, 1.2):
        if sequence.add(values[part]).half_width <= 0.02:
            break
    fixed = 1.96**2 * 0.3 * 0.7 / 0.02**2
    assert sequence.interval().count < 3 * fixed


def test_few_units_of_a_small_population_are_worth_more_than_of_a_large_one():
    values = np.random.default_rng(10).random(800)
    small = _looks(values, MeanSequence(1_000), factor=1.2)[-1]
    large = _looks(values, MeanSequence(1_000_000), factor=1.2)[-1]
    assert small.half_width < 0.7 * large.half_width


def test_a_million_units_take_memory_for_their_numbers_and_few_copies():
    values = np.random.default_rng(11).random(1_000_000)
    sequence = MeanSequence(10_000_000, within=0.001)
    tracemalloc.start()
    for part in rounds(1_000_000, 1_000, 2):
        found = sequence.add(values[part])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.low < 0.5 < found.high
    assert found.half_width < 0.002
    assert peak < 100e6


@pytest.mark.parametrize("wrong", [[math.nan], [0.2, 1.1], [-0.1], [math.inf], [[0.5]]])
def test_numbers_that_are_none_or_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match="values must"):
        MeanSequence(10).add(wrong)


def test_more_units_than_the_population_has_are_refused():
    with pytest.raises(ValueError, match="the population has 2 units; got 3"):
        MeanSequence(2).add([0, 1, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population": 0}, "population must be 1 or more"),
        ({"population": 5, "alpha": 0}, "alpha"),
        ({"population": 5, "alpha": 1.0}, "alpha"),
        ({"population": 5, "low": 1, "high": 1}, "low must be below high"),
        ({"population": 5, "within": 0}, "within must be above 0"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MeanSequence(**arguments)
