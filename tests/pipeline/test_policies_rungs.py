"""Adaptive r: worth having where the statistic tells what a view needs, and not where it does
not.
"""

import numpy as np
import pytest

from pipeline.policies.comparison import compare
from pipeline.policies.fitting import Promise
from pipeline.policies.rungs import Ladder, fit_thresholds, rungs_of

FLOPS = np.array([100.0, 80.0, 60.0])
VIDEOS, VIEWS, CLASSES = 1200, 6, 4
PROMISE = Promise(0.9, 0.95)


def ladder(*, telling, videos=VIDEOS, seed=0):
    """Still videos keep their class at every rung; lively ones lose it above the lowest.

    With `telling`, `changes` is large in lively videos; else it is drawn by lot.
    """
    draw = np.random.default_rng(seed)
    truth = draw.integers(CLASSES, size=videos)
    lively = draw.random(videos) < 0.3
    logits = np.zeros((3, videos, VIEWS, CLASSES))
    logits[:, np.arange(videos), :, truth] = 3.0
    for rung, loss in ((1, 2.4), (2, 4.5)):
        logits[rung, lively, :, truth[lively]] -= loss
    logits += draw.standard_normal(logits.shape) * 0.7
    exponentials = np.exp(logits)
    probabilities = (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32)
    about = lively if telling else draw.permutation(lively)
    changes = about[:, None] * 10.0 + draw.random((videos, VIEWS))
    return Ladder((8, 16, 24), FLOPS, probabilities, changes)


def found(**how):
    half = np.arange(VIDEOS) % 2 == 0
    return compare(ladder(**how), 16, half, PROMISE, list(range(VIEWS)))


def test_a_view_gets_the_rung_of_the_thresholds_that_its_change_lies_below():
    changes = np.array([[9.0, 5.0, 4.9, 0.0]])
    assert rungs_of(changes, np.array([5.0, 2.0])).tolist() == [[0, 0, 1, 2]]


def test_what_is_taken_is_each_views_own_rung():
    made = ladder(telling=True, videos=3)
    rungs = np.array([[0, 1, 2, 0, 1, 2]] * 3)
    taken = made.taken(rungs)
    for view, rung in enumerate(rungs[0]):
        assert np.array_equal(taken[:, view], made.probabilities[rung, :, view])
    assert made.labels(rungs).tolist() == taken.mean(axis=1, dtype=np.float64).argmax(1).tolist()


@pytest.mark.parametrize("budget", [96.0, 80.0, 71.0, 62.0])
def test_fitted_thresholds_keep_to_the_budget_and_use_it(budget):
    made = ladder(telling=True, videos=400)
    rungs = rungs_of(made.changes, fit_thresholds(made, budget))
    cost = FLOPS[rungs].mean()
    assert budget - 4.0 <= cost <= 1.001 * budget


def test_where_nothing_tells_views_still_get_several_rungs_so_that_there_is_something_to_compare():
    assert sorted(found(telling=False).shares)[1] > 0.05


def test_a_budget_below_the_ladder_is_refused():
    with pytest.raises(ValueError, match="no rung"):
        fit_thresholds(ladder(telling=True, videos=40), 59.0)


def test_a_statistic_that_tells_is_worth_having():
    result = found(telling=True)
    assert result.is_worth_having
    assert result.adaptive.value > result.fixed.value + 0.03
    assert result.adaptive.value > result.random.value + 0.03
    assert result.flops <= 80.5
    assert sum(result.shares) == pytest.approx(1)
    assert result.rungs[0].value == 1.0


def test_a_statistic_that_does_not_tell_is_not_worth_having():
    result = found(telling=False)
    assert not result.is_worth_having
    assert result.over_random.low <= 0
    assert result.over_fixed.low <= 0


def test_fixed_r_at_the_same_flops_is_a_mixture_of_its_neighbours():
    result = found(telling=True)
    one, two = sorted(result.rung_flops.index(each) for each in _around(result))
    weight = (result.flops - FLOPS[two]) / (FLOPS[one] - FLOPS[two])
    expected = weight * result.rungs[one].value + (1 - weight) * result.rungs[two].value
    assert result.fixed.value == pytest.approx(expected)


def _around(result):
    above = min(each for each in result.rung_flops if each >= result.flops)
    below = max(each for each in result.rung_flops if each < result.flops)
    return above, below


def test_adaptive_views_with_rungs_are_counted_by_the_views_looked_at():
    result = found(telling=True).together
    for spent in (result.fixed, result.adaptive):
        assert 60 <= spent.flops.value < 100 * VIEWS
    assert result.flops_ratio.value == pytest.approx(
        result.adaptive.flops.value / result.fixed.flops.value
    )
    assert result.difference.value == pytest.approx(
        result.adaptive.agreement.value - result.fixed.agreement.value
    )
    assert result.difference.low > 0


def test_views_that_all_change_alike_get_the_fixed_r_and_nothing_is_gained():
    made = ladder(telling=True)
    made = Ladder(made.rs, FLOPS, made.probabilities, np.zeros_like(made.changes))
    half = np.arange(VIDEOS) % 2 == 0
    result = compare(made, 16, half, PROMISE, list(range(VIEWS)))
    assert result.shares == (0.0, 1.0, 0.0)
    assert not result.is_worth_having
    assert result.together.flops_ratio.value == 1.0
    assert result.together.difference.value == 0.0


def test_a_half_too_small_for_the_promise_leaves_adaptive_views_out():
    half = np.arange(VIDEOS) % 2 == 0
    order = list(range(VIEWS))
    result = compare(ladder(telling=True), 16, half, Promise(0.999, 0.95), order)
    assert result.together is None


def test_arrays_that_do_not_fit_together_are_refused():
    made = ladder(telling=True, videos=3)
    with pytest.raises(ValueError, match="ascend"):
        Ladder((16, 8, 24), FLOPS, made.probabilities, made.changes)
    with pytest.raises(ValueError, match="do not fit"):
        Ladder((8, 16, 24), FLOPS, made.probabilities, made.changes[:, :2])
