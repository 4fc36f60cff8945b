import math

import numpy as np
import pytest

from pipeline.questions.intervals.asymptotic import (
    LEAST_EVENTS,
    LEAST_UNITS,
    RatioSample,
    ratio,
    ratio_difference,
)
from tests.pipeline.questions.intervals.samples import most_misses, rounds


def test_a_rate_of_events_per_hour_is_held_at_every_look():
    draw = np.random.default_rng(1)
    hours = draw.gamma(2, 0.5, size=3_000)
    events = draw.poisson(3 * hours).astype(float)
    truth = events.sum() / hours.sum()
    draws, missed = 100, 0
    for _ in range(draws):
        order = draw.permutation(3_000)
        looks = [
            ratio(
                events[order[: part.stop]], hours[order[: part.stop]], population=3_000, alpha=0.1
            )
            for part in rounds(3_000, 150, 1.5)
        ]
        missed += any(not each.low <= truth <= each.high for each in looks)
    assert missed <= most_misses(draws, 0.1)


def test_a_mean_has_an_interval_about_half_as_wide_again_as_that_of_one_look():
    values = np.random.default_rng(2).normal(50, 10, size=1_000)
    found = ratio(values, aimed_at=1_000)
    once = 1.96 * 10 / math.sqrt(1_000)
    assert found.estimate == pytest.approx(values.mean())
    assert once < found.half_width < 2 * once


def test_all_units_give_the_exact_ratio():
    found = ratio([1, 0, 3], [1, 1, 2], population=3)
    assert (found.low, found.estimate, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("count", [0, 1, LEAST_UNITS - 1])
def test_too_few_units_say_nothing(count):
    found = ratio(np.arange(count) % 2)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_too_few_events_say_nothing():
    parts = np.zeros(10_000)
    parts[: LEAST_EVENTS - 1] = 1
    assert ratio(parts).high == math.inf
    parts[LEAST_EVENTS] = 1
    assert ratio(parts).high < 0.01


@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_a_rate_of_what_is_in_nearly_every_video_waits_for_videos_without_it(seconds):
    parts = np.ones(10_000)
    hours = np.full(10_000, seconds / 3600)
    parts[: LEAST_EVENTS - 1] = 0
    assert ratio(parts, hours).high == math.inf
    parts[LEAST_EVENTS] = 0
    assert ratio(parts, hours).high < 1.01 * 3600 / seconds


@pytest.mark.parametrize("ones", [0.95, 0.98])
def test_a_mean_of_numbers_that_are_nearly_all_equal_is_held_when_it_is_narrow(ones):
    draw = np.random.default_rng(7)
    values = (draw.random(10_000) < ones).astype(float)
    label = (draw.random(10_000) < 0.2).astype(float)
    truth = (values * label).sum() / label.sum()
    draws, missed = 100, 0
    for _ in range(draws):
        order = draw.permutation(10_000)
        for part in rounds(10_000, 200, 1.7):
            seen = order[: part.stop]
            found = ratio((values * label)[seen], label[seen], population=10_000, alpha=0.1)
            if found.half_width <= 0.05:
                break
        missed += not found.low - 1e-9 <= truth <= found.high + 1e-9
    assert missed <= most_misses(draws, 0.1)


def test_parts_that_differ_from_equal_numbers_by_rounding_alone_say_nothing():
    wholes = np.random.default_rng(8).random(1_000) + 0.1
    assert ratio(0.1 * wholes, wholes).high == math.inf


def test_wholes_of_zero_have_no_ratio():
    found = ratio(np.ones(200), np.zeros(200))
    assert math.isnan(found.estimate)
    assert found.high == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": [math.nan]}, "parts must be"),
        ({"parts": [1.0], "wholes": [-1.0]}, "wholes must be 0"),
        ({"parts": [1.0], "wholes": [1.0, 2.0]}, "differ in length: 1 and 2"),
        ({"parts": [1.0, 2.0], "population": 1}, "the population has 1 units"),
        ({"parts": [1.0], "aimed_at": 0}, "aimed_at"),
        ({"parts": [1.0], "alpha": 2}, "alpha"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ratio(**arguments)


def _rates(draw, units, rate):
    """Events and hours of a population whose videos have about so many events per hour."""
    hours = draw.gamma(2, 0.5, size=units)
    return draw.poisson(rate * hours).astype(float), hours


def test_a_difference_of_rates_is_held_at_every_look():
    draw = np.random.default_rng(3)
    sides = [_rates(draw, 3_000, 3.0), _rates(draw, 1_500, 2.0)]
    truth = np.subtract(*(events.sum() / hours.sum() for events, hours in sides))
    draws, missed = 100, 0
    for _ in range(draws):
        orders = [draw.permutation(len(hours)) for _, hours in sides]
        for part in rounds(3_000, 200, 1.5):
            found = ratio_difference(
                *(
                    RatioSample.of(
                        *(each[order[: part.stop * len(order) // 3_000]] for each in side),
                        population=len(order),
                    )
                    for side, order in zip(sides, orders, strict=True)
                ),
                alpha=0.1,
            )
            if not found.low - 1e-9 <= truth <= found.high + 1e-9:
                missed += 1
                break
    assert missed <= most_misses(draws, 0.1)


def test_a_difference_of_rates_that_are_alike_is_1_4_times_as_wide_as_one():
    draw = np.random.default_rng(4)
    sides = [RatioSample.of(*_rates(draw, 1_000, 3.0)) for _ in range(2)]
    both = ratio_difference(*sides)
    one = ratio(*_rates(draw, 1_000, 3.0))
    assert both.half_width == pytest.approx(math.sqrt(2) * one.half_width, rel=0.1)
    assert both.estimate == pytest.approx(sides[0].estimate - sides[1].estimate)


def test_a_difference_from_a_large_sample_is_as_wide_as_the_small_one_alone():
    draw = np.random.default_rng(5)
    small, large = _rates(draw, 1_000, 3.0), _rates(draw, 300_000, 3.0)
    both = ratio_difference(RatioSample.of(*small), RatioSample.of(*large))
    assert both.half_width == pytest.approx(ratio(*small).half_width, rel=0.05)


def test_a_difference_of_populations_that_were_seen_in_full_is_exact():
    one = RatioSample.of([1, 0, 3], [1, 1, 2], population=3)
    other = RatioSample.of([1, 0], population=2)
    found = ratio_difference(one, other)
    assert (found.low, found.estimate, found.high) == (0.5, 0.5, 0.5)


def test_a_difference_says_nothing_before_both_samples_are_large_enough():
    draw = np.random.default_rng(6)
    large = RatioSample.of(*_rates(draw, 1_000, 3.0))
    few = RatioSample.of(*_rates(draw, LEAST_UNITS - 1, 3.0))
    assert ratio_difference(large, few).half_width == math.inf
    assert ratio_difference(few, large).half_width == math.inf
    none = RatioSample.of(np.ones(200), np.zeros(200))
    assert math.isnan(ratio_difference(large, none).estimate)
