import math

import numpy as np
import pytest

from pipeline.questions.intervals.allocation import Costs, next_round, plan
from tests.pipeline.questions.intervals.samples import guesses, shares


def _pilot(share=0.3, agreement=0.97, count=500):
    draw = np.random.default_rng(1)
    reference = draw.permutation(shares(count, share))
    return reference, guesses(draw, reference, agreement)


def _plan(reference, proxy, *, proxy_cost=0.1, **arguments):
    setting = {"population": 1_000_000, "within": 0.01, "costs": Costs(1, proxy_cost)} | arguments
    return plan(reference, proxy, **setting)


def test_a_good_and_cheap_proxy_makes_the_answer_cheaper():
    planned = _plan(*_pilot(), proxy_cost=0.01)
    assert planned.uses_proxy
    assert planned.references < 0.6 * planned.plain_references
    assert planned.cost < 0.7 * planned.plain_cost
    assert planned.proxies >= planned.references
    assert planned.cost == pytest.approx(planned.references + 0.01 * planned.proxies)


def test_a_proxy_that_costs_as_much_as_a_reference_is_not_used():
    planned = _plan(*_pilot(), proxy_cost=1)
    assert not planned.uses_proxy
    assert planned.cost == planned.plain_cost


@pytest.mark.parametrize("agreement", [0.5, 0.0])
def test_a_useless_or_reversed_proxy_is_not_used(agreement):
    planned = _plan(*_pilot(0.5, agreement), proxy_cost=0.0001)
    assert (planned.proxies, planned.weight) == (0, 0)


def test_stored_scores_cost_nothing():
    reference, proxy = _pilot()
    stored = _plan(reference, proxy, proxy_cost=1, scored=1_000_000)
    assert stored.uses_proxy
    assert stored.cost == stored.references


def test_the_plan_is_about_what_a_fixed_sample_takes_twice():
    planned = _plan(*_pilot())
    assert 1.5 < planned.plain_references / (1.96**2 * 0.21 / 0.01**2) < 2.5


def test_a_small_population_is_never_exceeded():
    planned = _plan(*_pilot(), population=600)
    assert planned.references <= planned.plain_references <= 600


def test_rounds_grow_by_a_factor_and_end_at_the_plan_with_small_steps():
    planned = _plan(*_pilot(), proxy_cost=0.01)
    sizes, scores = [500], [500]
    while sizes[-1] < 2 * planned.references:
        references, proxies = next_round(planned, sizes[-1], scores[-1])
        sizes.append(references)
        scores.append(proxies)
    steps = np.array(sizes[1:]) / np.array(sizes[:-1])
    assert (steps > 1).all()
    assert steps.max() < 2
    assert len(sizes) < 40
    assert (np.diff(scores) >= 0).all()
    assert (np.array(scores) >= sizes).all()


def test_a_plain_round_needs_no_scores():
    planned = _plan(*_pilot(0.5, 0.5))
    assert next_round(planned, 500, 0)[1] == 0


def test_the_last_round_ends_with_the_population():
    planned = _plan(*_pilot(), population=510)
    assert next_round(planned, 509, 509) == (510, 510)


@pytest.mark.parametrize("count", [0, 1])
def test_a_pilot_without_information_plans_for_the_largest_variance(count):
    planned = _plan(np.zeros(count), np.zeros(count), within=0.05)
    assert not planned.uses_proxy
    assert 1.96**2 * 0.125 / 0.05**2 < planned.references < 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reference": [math.nan]}, "reference"),
        ({"proxy": [0.5, 0.5]}, "differ in length: 1 and 2"),
        ({"population": 0}, "population"),
        ({"within": 0}, "within"),
        ({"alpha": 0}, "alpha"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        _plan(**({"reference": [1.0], "proxy": [1.0]} | arguments))


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan])
def test_costs_are_above_0(wrong):
    with pytest.raises(ValueError, match="cost of a proxy must be above 0"):
        Costs(1, wrong)
