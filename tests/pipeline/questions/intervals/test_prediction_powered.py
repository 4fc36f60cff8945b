import math
import tracemalloc

import numpy as np
import pytest

from pipeline.questions.intervals.confidence_sequence import MeanSequence
from pipeline.questions.intervals.prediction_powered import PredictionPowered
from tests.pipeline.questions.intervals.samples import guesses, most_misses, rounds, shares


def _stopped(reference, proxy, answer, within, *, scores_each=1, first=100, factor=1.3):
    looks, scored = [], 0
    for part in rounds(len(reference), first, factor):
        until = min(len(proxy), max(part.stop, part.stop * scores_each))
        looks.append(answer.add(reference[part], proxy[scored:until]))
        scored = until
        if looks[-1].half_width <= within:
            break
    return looks


def _proxy(kind, draw, reference):
    return {
        "good": lambda: guesses(draw, reference, 0.95),
        "useless": lambda: draw.random(len(reference)),
        "reversed": lambda: 1 - reference,
        "constant": lambda: np.full(len(reference), 0.4),
        # The proxy is worth trusting where the pilot looks, and wrong afterwards.
        "turning": lambda: np.where(np.arange(len(reference)) < 300, reference, 1 - reference),
    }[kind]()


@pytest.mark.parametrize("kind", ["good", "useless", "reversed", "constant", "turning"])
@pytest.mark.parametrize("known", [True, False])
def test_the_mean_is_held_at_every_look_whatever_the_proxy(kind, known):
    draw = np.random.default_rng(1)
    draws, missed = 25, 0
    for _ in range(draws):
        order = draw.permutation(3_000)
        reference = shares(3_000, 0.2)
        # Which units the proxy fails at is fixed; the order of units is random.
        proxy = _proxy(kind, draw, reference)
        mean = proxy.mean() if known else None
        answer = PredictionPowered(3_000, alpha=0.2, within=0.03, proxy_mean=mean)
        looks = _stopped(reference[order], proxy[order], answer, 0.0, scores_each=4)
        missed += any(not each.low <= 0.2 <= each.high for each in looks)
    assert missed <= most_misses(draws, 0.2)


@pytest.mark.parametrize(("trained", "holds"), [(100, True), (600, False)])
def test_a_proxy_may_know_the_units_of_the_first_round_and_no_others(trained, holds):
    draw = np.random.default_rng(7)
    draws, missed = 25, 0
    for _ in range(draws):
        reference = draw.permutation(shares(3_000, 0.3))
        proxy = np.where(draw.random(3_000) < 0.8, reference, 0.0)
        proxy[:trained] = reference[:trained]
        answer = PredictionPowered(3_000, alpha=0.2, within=0.03, proxy_mean=proxy.mean())
        looks = _stopped(reference, proxy, answer, 0.03, scores_each=4)
        missed += any(not each.low <= 0.3 <= each.high for each in looks)
    assert (missed <= most_misses(draws, 0.2)) == holds


def test_a_good_proxy_saves_most_of_the_references():
    draw = np.random.default_rng(2)
    reference = draw.permutation(shares(50_000, 0.3))
    proxy = guesses(draw, reference, 0.97)
    counts = {}
    for name, arguments in {
        "plain": {"use_proxy": False},
        "known": {"proxy_mean": proxy.mean()},
        "estimated": {},
    }.items():
        answer = PredictionPowered(50_000, within=0.02, **arguments)
        given = [] if name == "plain" else proxy
        looks = _stopped(reference, np.asarray(given), answer, 0.02, scores_each=20)
        counts[name] = looks[-1].references
        assert looks[-1].low <= 0.3 <= looks[-1].high
    assert counts["known"] < 0.4 * counts["plain"]
    assert counts["estimated"] < 0.8 * counts["plain"]


@pytest.mark.parametrize("kind", ["useless", "reversed", "constant"])
def test_a_proxy_without_use_costs_at_most_a_tenth_of_the_width(kind):
    draw = np.random.default_rng(3)
    reference = draw.permutation(shares(20_000, 0.3))
    proxy = _proxy(kind, draw, reference)
    plain = PredictionPowered(20_000, use_proxy=False)
    powered = PredictionPowered(20_000)
    for part in rounds(4_000, 200, 1.5):
        one, other = plain.add(reference[part]), powered.add(reference[part], proxy[part])
    assert other.half_width <= 1.1 * one.half_width


def test_without_a_proxy_the_answer_is_that_of_the_plain_sample():
    values = np.random.default_rng(4).random(1_000)
    plain, powered = MeanSequence(1_000), PredictionPowered(1_000, use_proxy=False)
    for part in rounds(600, 100, 1.5):
        one, other = plain.add(values[part]), powered.add(values[part])
    assert (other.low, other.high) == pytest.approx((one.low, one.high))
    assert (other.weight, other.proxies, other.references) == (0, 0, 600)


@pytest.mark.parametrize("known", [True, False])
def test_the_whole_population_gives_its_exact_mean(known):
    draw = np.random.default_rng(5)
    reference = draw.permutation(shares(400, 0.25))
    proxy = guesses(draw, reference, 0.9)
    answer = PredictionPowered(400, proxy_mean=proxy.mean() if known else None)
    last = _stopped(reference, proxy, answer, 0.0)[-1]
    assert last.low == pytest.approx(0.25, abs=1e-9)
    assert last.high == pytest.approx(0.25, abs=1e-9)
    assert last.estimate == pytest.approx(0.25, abs=1e-9)


def test_the_order_of_units_within_a_round_does_not_matter():
    draw = np.random.default_rng(6)
    reference = draw.permutation(shares(1_000, 0.3))
    proxy = np.clip(reference * 0.6 + draw.random(1_000) * 0.4, 0, 1)
    one = PredictionPowered(1_000, proxy_mean=proxy.mean())
    other = PredictionPowered(1_000, proxy_mean=proxy.mean())
    for part in rounds(600, 100, 1.5):
        found = one.add(reference[part], proxy[part])
        mixed = draw.permutation(np.arange(part.start, part.stop))
        again = other.add(reference[mixed], proxy[mixed])
    assert found.weight > 0.3
    assert again.low == pytest.approx(found.low, abs=1e-9)
    assert again.high == pytest.approx(found.high, abs=1e-9)
    assert again.estimate == pytest.approx(found.estimate)


def test_the_first_round_does_not_weight_a_proxy_that_nothing_is_known_of():
    reference = shares(100, 0.5)
    assert PredictionPowered(1_000).add(reference, reference).weight == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_references_that_are_all_equal_end_near_their_value(value):
    answer = PredictionPowered(1_000_000, within=0.01)
    for _ in range(6):
        found = answer.add(np.full(200, value), np.full(200, value))
    assert found.low <= value <= found.high
    assert found.half_width < 0.01
    assert found.estimate == value


def test_nothing_is_known_before_the_first_reference():
    found = PredictionPowered(100).add([], [0.5, 0.5])
    assert math.isnan(found.estimate)
    assert (found.low, found.high, found.references, found.proxies) == (0, 1, 0, 2)


def test_one_unit_is_known_once_it_is_seen():
    found = PredictionPowered(1).add([1.0], [0.0])
    assert (found.low, found.estimate, found.high) == (1, 1, 1)


def test_a_million_references_take_memory_for_their_numbers_and_few_copies():
    draw = np.random.default_rng(7)
    reference = (draw.random(1_000_000) < 0.1) * 1.0
    proxy = np.clip(0.8 * reference + 0.2 * draw.random(1_000_000), 0, 1)
    answer = PredictionPowered(100_000_000, within=0.0005, proxy_mean=0.8 * 0.1 + 0.1)
    tracemalloc.start()
    for part in rounds(1_000_000, 1_000, 2):
        found = answer.add(reference[part], proxy[part])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.half_width < 0.001
    assert peak < 150e6


@pytest.mark.parametrize(
    ("reference", "proxy", "message"),
    [
        ([math.nan], [0.5], "reference must be 0 to 1; got nan"),
        ([0.5], [math.nan], "proxy must be 0 to 1; got nan"),
        ([2.0], [0.5], "reference must be 0 to 1; got 2"),
        ([1.0, 0.0], [0.5], "2 references and 1 scores"),
        ([1.0] * 4, [0.5] * 4, "the population has 3 units; got 4"),
    ],
)
def test_wrong_rounds_are_refused(reference, proxy, message):
    with pytest.raises(ValueError, match=message):
        PredictionPowered(3).add(reference, proxy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population": 0}, "population"),
        ({"population": 2, "alpha": 1}, "alpha"),
        ({"population": 2, "within": -1}, "within"),
        ({"population": 2, "proxy_mean": 1.5}, "proxy_mean must be 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PredictionPowered(**arguments)
