import math

import numpy as np
import pytest

from pipeline.questions.intervals.selection import RecallSelection, whole_numbers
from tests.pipeline.questions.intervals.samples import most_misses, rounds


def _population(draw, kind, units=5_000, share=0.1):
    reference = draw.random(units) < share
    if kind == "good":
        return reference, 1 / (1 + np.exp(2 - 2 * draw.normal(size=units) - 7 * reference))
    if kind == "reversed":
        return reference, np.where(reference, 0.0, draw.random(units))
    if kind == "constant":
        return reference, np.full(units, 0.5)
    if kind == "labels":
        return reference, np.where(draw.random(units) < 0.98, reference, ~reference) * 1.0
    # One positive in twenty is where the proxy is 0: what normal bounds overlook.
    hidden = reference & (draw.random(units) < 0.07)
    return reference, np.where(hidden, 0.0, np.clip(reference * 0.8 + draw.random(units) / 5, 0, 1))


def _selected(draw, reference, proxy, budget, **arguments):
    selection = RecallSelection(proxy, **arguments)
    order = draw.permutation(len(proxy))
    for part in rounds(budget, 100, 1.5):
        found = selection.add(order[part], reference[order[part]])
    return found


@pytest.mark.parametrize("kind", ["good", "reversed", "constant", "labels", "hidden"])
def test_the_recall_is_kept_whatever_the_proxy(kind):
    draw = np.random.default_rng(1)
    draws, missed = 60, 0
    for _ in range(draws):
        reference, proxy = _population(draw, kind)
        found = _selected(draw, reference, proxy, 1_500, recall=0.9, alpha=0.2)
        missed += reference[found.chosen].sum() < 0.9 * reference.sum()
    assert missed <= most_misses(draws, 0.2)


def test_a_good_proxy_leaves_most_units_out():
    draw = np.random.default_rng(2)
    reference, proxy = _population(draw, "good", units=20_000)
    found = _selected(draw, reference, proxy, 3_000)
    assert found.recall_low == 0.95
    assert len(found.chosen) < 0.4 * len(proxy)
    assert found.precision == pytest.approx(reference[found.chosen].mean(), abs=0.1)
    assert found.recall == pytest.approx(reference[found.chosen].sum() / reference.sum(), abs=0.05)


def test_all_that_a_reference_called_positive_is_in_the_set():
    draw = np.random.default_rng(3)
    reference, proxy = _population(draw, "good", units=20_000)
    selection = RecallSelection(proxy)
    order = draw.permutation(len(proxy))[:6_000]
    found = selection.add(order, reference[order])
    assert len(found.chosen) < len(proxy)
    assert np.isin(order[reference[order]], found.chosen).all()
    assert found.positives == reference[order].sum()


def test_the_set_is_everything_until_something_is_known():
    found = RecallSelection([0.1, 0.9]).add([], [])
    assert found.chosen.tolist() == [0, 1]
    assert (found.recall_low, found.references) == (1.0, 0)
    assert math.isnan(found.recall)


def test_no_positive_at_all_certifies_nothing():
    selection = RecallSelection(np.linspace(0, 1, 50))
    found = selection.add(np.arange(49), np.zeros(49))
    assert len(found.chosen) == 50
    assert found.positives == 0
    assert not len(selection.add([49], [0.0]).chosen)  # now it is known that there is none


def test_the_whole_population_gives_exactly_its_positives():
    draw = np.random.default_rng(4)
    reference, proxy = _population(draw, "good", units=400, share=0.5)
    found = _selected(draw, reference, proxy, 400)
    assert found.chosen.tolist() == np.flatnonzero(reference).tolist()


@pytest.mark.parametrize("units", [50, 100, 1_000])
def test_the_number_of_positives_is_held_by_its_own_share(units):
    for count in range(units + 1):
        assert whole_numbers(count / units, count / units, units) == (count, count)


def test_a_threshold_once_certified_stays_so():
    draw = np.random.default_rng(5)
    reference, proxy = _population(draw, "good")
    selection, order = RecallSelection(proxy), draw.permutation(5_000)
    thresholds = [
        selection.add(order[part], reference[order[part]]).threshold
        for part in rounds(5_000, 100, 1.4)
    ]
    assert thresholds == sorted(thresholds)


def test_the_order_within_a_round_does_not_matter():
    draw = np.random.default_rng(6)
    reference, proxy = _population(draw, "good")
    one, other = RecallSelection(proxy), RecallSelection(proxy)
    for part in rounds(2_000, 200, 2):
        units = np.arange(part.start, part.stop)
        found = one.add(units, reference[units])
        again = other.add(units[::-1], reference[units[::-1]])
    assert found.threshold == again.threshold
    assert found.chosen.tolist() == again.chosen.tolist()


def test_a_million_units_are_selected_from():
    draw = np.random.default_rng(7)
    reference, proxy = _population(draw, "good", units=1_000_000)
    found = _selected(draw, reference, proxy, 2_000)
    assert len(found.chosen) < 500_000


@pytest.mark.parametrize(
    ("numbers", "references", "message"),
    [
        ([0, 0], [1, 1], "none of them twice"),
        ([0], [0.5], "references must be 0 or 1"),
        ([0], [math.nan], "references must be 0 to 1"),
        ([0, 1], [1], "one for each of 2 units"),
    ],
)
def test_wrong_rounds_are_refused(numbers, references, message):
    with pytest.raises(ValueError, match=message):
        RecallSelection([0.5, 0.5]).add(numbers, references)


def test_a_unit_has_one_reference():
    selection = RecallSelection([0.5, 0.5])
    selection.add([1], [1])
    with pytest.raises(ValueError, match="without a reference"):
        selection.add([1], [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"proxy": []}, "one unit or more"),
        ({"proxy": [math.nan]}, "proxy must be 0 to 1"),
        ({"proxy": [0.5], "recall": 1}, "recall"),
        ({"proxy": [0.5], "alpha": 0}, "alpha"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecallSelection(**arguments)
