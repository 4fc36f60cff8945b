import math

import numpy as np
import pytest

from pipeline.questions.intervals.difference import DIFFERENCE_ALPHA_SHARE, Difference
from pipeline.questions.intervals.prediction_powered import PredictionPowered
from tests.pipeline.questions.intervals.samples import guesses, most_misses, rounds, shares

KINDS = {
    "no proxy": {"use_proxy": False},
    "known mean": {"proxy_mean": 0.0},
    "estimated mean": {},
}


class Side:
    """A population in a random order, its proxy scores, and its own interval."""

    def __init__(self, draw, values, kind, proxy, alpha, within=None):
        self.order = draw.permutation(len(values))
        self.kind, self.values, self.proxy = kind, values, proxy
        settings = dict(KINDS[kind])
        if "proxy_mean" in settings:
            settings["proxy_mean"] = float(proxy.mean())
        self.own = PredictionPowered(len(values), alpha=alpha, within=within, **settings)
        self.seen = self.scored = 0

    def add(self, until, scores_each=3):
        """Units up to `until`, with scores of so many times as many."""
        until = min(until, len(self.values))
        known = self.kind != "estimated mean"
        scored = until if known else min(len(self.values), until * scores_each)
        rows, more = self.order[self.seen : until], self.order[self.scored : scored]
        scores = () if self.kind == "no proxy" else self.proxy[more]
        self.seen, self.scored = until, scored
        return self.own.add(self.values[rows], scores)


def _pair(draw, values, kinds, proxies, alpha, within=None):
    rest = alpha * (1 - DIFFERENCE_ALPHA_SHARE) / 2
    given = zip(values, kinds, proxies, strict=True)
    sides = [Side(draw, value, kind, proxy, rest) for value, kind, proxy in given]
    found = Difference(
        *(each.own for each in sides), alpha=alpha * DIFFERENCE_ALPHA_SHARE, within=within
    )
    return sides, found


def _looks(sides, difference, first=40, factor=1.6):
    """(difference, own, own) after each round, each side by its own size, until all are seen."""
    sizes = [len(each.values) for each in sides]
    for part in rounds(max(sizes), first, factor):
        own = [each.add(math.ceil(part.stop * len(each.values) / max(sizes))) for each in sides]
        yield difference.look(), *own


def _holds(look, truth):
    return look.low - 1e-9 <= truth <= look.high + 1e-9


def _proxies(draw, values, kind):
    return {
        "good": lambda: [guesses(draw, each, 0.95) for each in values],
        "useless": lambda: [draw.random(len(each)) for each in values],
        "reversed": lambda: [1 - each for each in values],
        "one good": lambda: [guesses(draw, values[0], 0.97), draw.random(len(values[1]))],
    }[kind]()


@pytest.mark.parametrize(
    ("kinds", "proxy"),
    [
        (("no proxy", "no proxy"), "useless"),
        (("known mean", "known mean"), "good"),
        (("known mean", "known mean"), "reversed"),
        (("estimated mean", "estimated mean"), "good"),
        (("estimated mean", "estimated mean"), "one good"),
        (("no proxy", "estimated mean"), "good"),
        (("estimated mean", "known mean"), "good"),
        (("known mean", "no proxy"), "good"),
    ],
)
@pytest.mark.parametrize("sizes", [(700, 500), (700, 40)])
def test_the_difference_and_both_means_hold_at_every_look(kinds, proxy, sizes):
    draw = np.random.default_rng(1)
    values = [shares(sizes[0], 0.4), shares(sizes[1], 0.2)]
    draws, missed = 25, 0
    for _ in range(draws):
        sides, difference = _pair(draw, values, kinds, _proxies(draw, values, proxy), alpha=0.2)
        missed += any(
            not (_holds(look, 0.2) and _holds(one, 0.4) and _holds(other, 0.2))
            for look, one, other in _looks(sides, difference)
        )
    assert missed <= most_misses(draws, 0.2)


def test_a_difference_of_rare_labels_holds_at_every_look():
    draw = np.random.default_rng(2)
    values = [shares(1_000, 0.02), shares(1_000, 0.005)]
    draws, missed = 40, 0
    for _ in range(draws):
        sides, difference = _pair(draw, values, ("no proxy",) * 2, values, alpha=0.4, within=0.02)
        looks = _looks(sides, difference)
        missed += any(not _holds(look, 0.015) for look, *_ in looks)
    assert missed <= most_misses(draws, 0.4)


def _ratio(values, kinds, proxies, *, draw, rounds_seen=9):
    """Width beside two intervals that share alpha and are subtracted, after so many rounds."""
    sides, difference = _pair(draw, values, kinds, proxies, alpha=0.05)
    apart = [Side(draw, *each, 0.025) for each in zip(values, kinds, proxies, strict=True)]
    for old, new in zip(apart, sides, strict=True):
        old.order = new.order
    looks = _looks(sides, difference, first=200, factor=1.5)
    halves = zip(looks, _looks(apart, _Subtracted(), first=200, factor=1.5), strict=True)
    for (found, *_), (_, one, other) in (next(halves) for _ in range(rounds_seen)):
        ratio = found.half_width / (one.half_width + other.half_width)
    return ratio


class _Subtracted:
    def look(self):
        return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_a_difference_is_0_7_times_as_wide_as_two_intervals_subtracted(kind, share):
    draw = np.random.default_rng(3)
    values = [shares(50_000, share), shares(50_000, 1.2 * share)]
    proxies = [guesses(draw, each, 0.98) for each in values]
    ratios = [_ratio(values, (kind, kind), proxies, draw=draw) for _ in range(4)]
    assert 0.6 < np.mean(ratios) < 0.75


@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("small", [1_000, 5_000])
def test_a_difference_from_a_small_population_is_no_wider(small, share):
    draw = np.random.default_rng(4)
    values = [shares(100_000, share), shares(small, share)]
    ratios = [_ratio(values, ("no proxy",) * 2, values, draw=draw, rounds_seen=7) for _ in range(6)]
    assert np.mean(ratios) < 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("proxy", ["useless", "reversed"])
def test_proxies_without_use_cost_at_most_a_tenth_of_the_width(kind, proxy):
    draw = np.random.default_rng(5)
    values = [shares(20_000, 0.2), shares(20_000, 0.25)]
    proxies = _proxies(draw, values, proxy)
    # Beside no proxies: both differences are of the same units.
    found = []
    for each in (kind, "no proxy"):
        sides, difference = _pair(np.random.default_rng(6), values, (each,) * 2, proxies, 0.05)
        *_, last = (
            look for _, (look, *_) in zip(range(6), _looks(sides, difference, 200), strict=False)
        )
        found.append(last)
    assert found[0].half_width <= 1.1 * found[1].half_width


def test_good_proxies_make_a_difference_narrower():
    draw = np.random.default_rng(7)
    values = [shares(50_000, 0.4), shares(50_000, 0.25)]
    widths = {}
    for kind in KINDS:
        proxies = [guesses(draw, each, 0.98) for each in values]
        sides, difference = _pair(draw, values, (kind, kind), proxies, alpha=0.05)
        for _ in range(8):
            for each in sides:
                each.add(max(200, round(1.5 * each.seen)), scores_each=10)
            widths[kind] = difference.look().half_width
    assert widths["known mean"] < 0.5 * widths["no proxy"]
    assert widths["estimated mean"] < 0.8 * widths["no proxy"]


def test_mean_proxy_scores_that_are_alike_are_told_as_one_difference():
    draw = np.random.default_rng(8)
    values = [shares(50_000, 0.3), shares(50_000, 0.32)]
    proxies = [guesses(draw, each, 0.995) for each in values]
    kinds = ("estimated mean",) * 2
    ratios = [_ratio(values, kinds, proxies, draw=draw, rounds_seen=8) for _ in range(4)]
    # Nearly all of the width is that of the mean proxy scores.
    assert np.mean(ratios) < 0.8


@pytest.mark.parametrize("kinds", [("no proxy", "no proxy"), ("estimated mean", "known mean")])
@pytest.mark.parametrize("sizes", [(300, 200), (300, 3)])
def test_all_units_give_the_exact_difference(kinds, sizes):
    draw = np.random.default_rng(9)
    values = [draw.random(size) for size in sizes]
    proxies = [np.clip(each + 0.1 * draw.random(len(each)), 0, 1) for each in values]
    sides, difference = _pair(draw, values, kinds, proxies, alpha=0.05)
    *_, (last, *_) = _looks(sides, difference)
    truth = values[0].mean() - values[1].mean()
    for end in (last.low, last.estimate, last.high):
        assert end == pytest.approx(truth, abs=1e-9)
    assert last.count == sum(sizes)


def test_a_difference_from_a_population_seen_in_full_goes_on_with_the_other():
    draw = np.random.default_rng(10)
    values = [shares(20_000, 0.3), shares(100, 0.2)]
    sides, difference = _pair(draw, values, ("no proxy",) * 2, values, alpha=0.05)
    widths = []
    for until in (100, 300, 900, 2_700):
        own, _ = [each.add(until) for each in sides]
        widths.append(difference.look().half_width)
    assert widths[-1] < 0.5 * widths[0]
    assert widths[-1] <= own.half_width


def test_a_round_of_one_side_alone_narrows_by_its_own_interval():
    draw = np.random.default_rng(11)
    values = [shares(20_000, 0.3), shares(20_000, 0.2)]
    sides, difference = _pair(draw, values, ("no proxy",) * 2, values, alpha=0.05)
    for each in sides:
        each.add(200)
    before = difference.look()
    sides[0].add(20_000)
    after = difference.look()
    other = sides[1].own.look()
    assert after.half_width <= min(before.half_width, other.half_width + 1e-9)


def test_the_interval_is_within_both_own_intervals_subtracted_and_never_widens():
    draw = np.random.default_rng(12)
    values = [draw.random(800), draw.random(300) ** 2]
    sides, difference = _pair(draw, values, ("no proxy",) * 2, values, alpha=0.05)
    low, high = -1.0, 1.0
    for look, one, other in _looks(sides, difference):
        low, high = max(low, one.low - other.high), min(high, one.high - other.low)
        assert low - 1e-12 <= look.low <= look.estimate <= look.high <= high + 1e-12
        low, high = look.low, look.high


def test_exchanging_both_populations_turns_the_difference_round():
    found = []
    for turn in (1, -1):
        draw = np.random.default_rng(13)
        values = [draw.random(300), draw.random(300) ** 2]
        made, difference = _pair(draw, values, ("no proxy",) * 2, values, alpha=0.05)
        if turn < 0:
            difference = Difference(made[1].own, made[0].own, difference.alpha)
        for until in (60, 120):
            for each in made:
                each.add(until)
            look = difference.look()
        found.append(sorted((turn * look.low, turn * look.high)))
    assert found[0] == pytest.approx(found[1])


def test_the_order_of_units_within_a_round_does_not_matter():
    found = []
    for mix in (False, True):
        draw = np.random.default_rng(14)
        values = [shares(1_000, 0.3), shares(1_000, 0.2)]
        proxies = [guesses(draw, each, 0.9) for each in values]
        sides, difference = _pair(draw, values, ("known mean",) * 2, proxies, alpha=0.05)
        for until in (100, 200, 400):
            for each in sides:
                if mix:
                    each.order[each.seen : until] = each.order[each.seen : until][::-1]
                each.add(until)
            look = difference.look()
        found.append((look.low, look.high))
    assert found[0] == pytest.approx(found[1], abs=1e-9)


@pytest.mark.parametrize("values", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_numbers_that_are_all_equal_end_near_their_difference(values):
    sides = [PredictionPowered(1_000_000, alpha=0.005, use_proxy=False) for _ in values]
    difference = Difference(*sides, alpha=0.04, within=0.01)
    for _ in range(6):
        for each, value in zip(sides, values, strict=True):
            each.add(np.full(200, value))
        found = difference.look()
    assert found.low <= values[0] - values[1] <= found.high
    assert found.half_width < 0.01


def test_nothing_is_known_before_the_first_references():
    sides = [PredictionPowered(10) for _ in range(2)]
    difference = Difference(*sides)
    sides[0].add([1.0], [1.0])
    look = difference.look()
    assert math.isnan(look.estimate)
    assert look.low >= -1
    assert look.high == 1


def test_wrong_settings_are_refused():
    def sides():
        return [PredictionPowered(10, use_proxy=False) for _ in range(2)]

    late = sides()
    late[1].add([0.5])
    for make, message in [
        (lambda: Difference(*sides(), alpha=0), "alpha"),
        (lambda: Difference(*sides(), within=0), "within must be above 0"),
        (lambda: Difference(*late), "before its populations have rounds"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
