import math

import numpy as np
import pytest

from pipeline.questions.confidence_sequence import MeanSequence
from pipeline.questions.groups import neyman, proportional
from pipeline.questions.linear_sequence import Group, LinearSequence, difference, strata
from tests.pipeline.questions.samples import guesses, most_misses, rounds, shares


def _looks(populations, sequence, first=60, factor=1.5, divide=proportional):
    sizes = [len(each) for each in populations]
    before, looks = np.zeros(len(sizes), int), []
    for part in rounds(sum(sizes), first, factor):
        until = np.minimum(np.maximum(divide(sizes, part.stop), before + 1), sizes)
        looks.append(
            sequence.add([each[a:b] for each, a, b in zip(populations, before, until, strict=True)])
        )
        before = until
    return looks


def _missed(looks, truth):
    return any(not each.low - 1e-9 <= truth <= each.high + 1e-9 for each in looks)


def test_a_stratified_mean_is_held_at_every_look():
    draw = np.random.default_rng(1)
    values = [shares(900, 0.3), shares(500, 0.05), draw.random(100)]
    truth = np.concatenate(values).mean()
    draws = 80
    missed = sum(
        _missed(
            _looks(
                [draw.permutation(each) for each in values],
                LinearSequence(strata([900, 500, 100]), alpha=0.2),
            ),
            truth,
        )
        for _ in range(draws)
    )
    assert missed <= most_misses(draws, 0.2)


def test_a_neyman_sample_holds_it_too():
    draw = np.random.default_rng(2)
    values = [shares(900, 0.5), shares(900, 0.01)]
    truth = np.concatenate(values).mean()
    draws, missed = 60, 0
    for _ in range(draws):
        sequence = LinearSequence(strata([900, 900]), alpha=0.2)

        def divide(sizes, total, sequence=sequence):
            return neyman(sizes, sequence.deviations(), total)

        looks = _looks([draw.permutation(each) for each in values], sequence, divide=divide)
        missed += _missed(looks, truth)
    assert missed <= most_misses(draws, 0.2)


def test_a_difference_is_held_at_every_look():
    draw = np.random.default_rng(3)
    values = [shares(800, 0.4), shares(1_200, 0.25)]
    draws = 80
    missed = sum(
        _missed(
            _looks(
                [draw.permutation(each) for each in values],
                LinearSequence(difference(800, 1_200), alpha=0.2),
            ),
            0.15,
        )
        for _ in range(draws)
    )
    assert missed <= most_misses(draws, 0.2)


def test_a_difference_is_narrower_than_two_intervals_that_are_subtracted():
    draw = np.random.default_rng(4)
    values = [draw.permutation(shares(100_000, 0.3)) for _ in range(2)]
    together = LinearSequence(difference(100_000, 100_000))
    apart = [MeanSequence(100_000, 0.025) for _ in range(2)]
    for part in rounds(4_000, 200, 1.3):
        found = together.add([each[part] for each in values])
        single = [each.add(numbers[part]) for each, numbers in zip(apart, values, strict=True)]
    assert found.half_width < 0.85 * sum(each.half_width for each in single)


def _proxied(draw, values, agreement, alpha=0.05):
    """Looks at a difference whose groups have proxy labels."""
    proxies = [guesses(draw, each, agreement) for each in values]
    means = tuple(each.mean() for each in proxies)
    sequence = LinearSequence(difference(*map(len, values), means), alpha=alpha)
    orders = [draw.permutation(len(each)) for each in values]
    return [
        sequence.add(
            [each[order[part]] for each, order in zip(values, orders, strict=True)],
            [each[order[part]] for each, order in zip(proxies, orders, strict=True)],
        )
        for part in rounds(len(values[0]), 60, 1.5)
    ]


@pytest.mark.parametrize("agreement", [0.95, 0.5])
def test_a_difference_with_proxies_is_held_at_every_look(agreement):
    draw = np.random.default_rng(10)
    values = [shares(1_000, 0.4), shares(1_000, 0.25)]
    draws = 60
    missed = sum(_missed(_proxied(draw, values, agreement, 0.2), 0.15) for _ in range(draws))
    assert missed <= most_misses(draws, 0.2)


def test_good_proxies_make_a_difference_narrower():
    draw = np.random.default_rng(11)
    values = [shares(50_000, 0.4), shares(50_000, 0.25)]
    good, useless = (_proxied(draw, values, each)[9] for each in (0.97, 0.5))
    assert good.half_width < 0.7 * useless.half_width


def test_a_group_without_proxies_stands_beside_one_with_them():
    draw = np.random.default_rng(12)
    values, proxy = [shares(200, 0.5), shares(100, 0.1)], shares(200, 0.5)
    sequence = LinearSequence([Group(200, 1.0, 0.5), Group(100, 1.0)])
    order = draw.permutation(200)
    for part in (slice(0, 50), slice(50, 100), slice(100, 200)):
        other = order[part][order[part] < 100]
        found = sequence.add([values[0][order[part]], values[1][other]], [proxy[order[part]], []])
    assert found.low == pytest.approx(0.6)
    assert found.high == pytest.approx(0.6)


def test_one_group_is_about_as_wide_as_its_mean():
    values = np.random.default_rng(5).permutation(shares(100_000, 0.3))
    linear, plain = LinearSequence([Group(100_000, 1.0)]), MeanSequence(100_000)
    for part in rounds(4_000, 200, 1.3):
        one, other = linear.add([values[part]]), plain.add(values[part])
    assert one.half_width < 1.25 * other.half_width


def test_strata_that_differ_give_a_narrower_interval_than_one_sample():
    draw = np.random.default_rng(6)
    values = [np.ones(20_000), np.zeros(20_000)]
    stratified = _looks(values, LinearSequence(strata([20_000, 20_000])))[6]
    mixed = draw.permutation(np.concatenate(values))
    plain = _looks([mixed], LinearSequence([Group(40_000, 1.0)]))[6]
    assert stratified.half_width < 0.5 * plain.half_width


@pytest.mark.parametrize("groups", [strata([60, 30, 10]), difference(60, 30)])
def test_all_units_give_the_exact_sum(groups):
    draw = np.random.default_rng(7)
    values = [draw.random(each.population) for each in groups]
    truth = sum(
        each.coefficient * numbers.mean() for each, numbers in zip(groups, values, strict=True)
    )
    last = _looks(values, LinearSequence(groups), first=10)[-1]
    for end in (last.low, last.estimate, last.high):
        assert end == pytest.approx(truth, abs=1e-9)


def test_a_group_that_is_exhausted_early_stays_known():
    draw = np.random.default_rng(8)
    values = [draw.permutation(shares(1_000, 0.2)), np.ones(3)]
    looks = _looks(values, LinearSequence(strata([1_000, 3])), first=10)
    assert not _missed(looks, np.concatenate(values).mean())


def test_exchanging_both_populations_turns_the_difference_round():
    draw = np.random.default_rng(9)
    one, other = draw.random(300), draw.random(300) ** 2
    forth = _looks([one, other], LinearSequence(difference(300, 300)), factor=2)[1]
    back = _looks([other, one], LinearSequence(difference(300, 300)), factor=2)[1]
    assert forth.low == pytest.approx(-back.high)
    assert forth.high == pytest.approx(-back.low)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.5], [math.nan]], "values must be 0 to 1; got nan"),
        ([[0.5]], "there are 2 groups; got numbers of 1"),
        ([[0.5], []], "1 to 2 units of a group; got 0"),
        ([[0.5], [0.5] * 3], "1 to 2 units of a group; got 3"),
    ],
)
def test_wrong_rounds_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LinearSequence(difference(2, 2)).add(values)


def test_missing_scores_are_refused():
    sequence = LinearSequence(difference(9, 9, (0.5, 0.5)))
    with pytest.raises(ValueError, match="a score for each of its 1 units"):
        sequence.add([[0.5], [0.5]])
    with pytest.raises(ValueError, match="there are 2 groups; got scores of 1"):
        sequence.add([[0.5], [0.5]], [[0.5]])


def test_wrong_settings_are_refused():
    for make, message in [
        (lambda: Group(0, 1), "population"),
        (lambda: Group(1, 0), "coefficient"),
        (lambda: Group(1, 1, 1.5), "proxy_mean"),
        (lambda: LinearSequence([]), "groups"),
        (lambda: LinearSequence(strata([1]), alpha=0), "alpha"),
        (lambda: LinearSequence(strata([1]), within=0), "within"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
