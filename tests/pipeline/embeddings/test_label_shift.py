"""Drift of labels: many classes do not cry wolf, changes are named, the interval covers."""

import numpy as np
import pytest

from pipeline.embeddings.label_shift import LabelCounts, label_shift

# 120 classes, a few frequent and many rare.
SHARES = 1 / np.arange(1, 121)
SHARES /= SHARES.sum()


def drawn(seed, shares=SHARES, count=600):
    labels = np.random.default_rng(seed).choice(len(shares), count, p=shares)
    made = LabelCounts()
    made.add([f"{seed} {n}" for n in range(count)], [f"class {label}" for label in labels])
    return made


def given(run, **counts):
    made = LabelCounts()
    for label, count in counts.items():
        made.add([f"{run} {label} {number}" for number in range(count)], [label] * count)
    return made


def test_no_class_changed_between_two_draws_of_one_population():
    found = [label_shift(drawn(seed), drawn(1000 + seed)) for seed in range(100)]
    assert sum(bool(each.certain) for each in found) <= 5
    assert sum(each.distance.low > 0 for each in found) <= 5


def test_the_interval_of_the_distance_holds_the_true_distance():
    shares = SHARES.copy()
    shares[0] -= 0.1
    shares[3] += 0.1
    found = [label_shift(drawn(seed), drawn(1000 + seed, shares)) for seed in range(60)]
    assert sum(each.distance.low <= 0.1 <= each.distance.high for each in found) >= 54


def test_a_new_class_and_one_that_vanished_are_named():
    old = given("old", ball=300, square=300, kite=30)
    new = given("new", ball=300, square=300, star=40)
    found = label_shift(old, new)
    assert [(each.label, each.change) for each in found.certain] == [
        ("star", "appeared"),
        ("kite", "vanished"),
    ]
    star = found.certain[0]
    assert (star.reference, star.today) == (0, 40)
    assert star.difference.low < 40 / 640 < star.difference.high
    assert (found.reference, found.today) == (630, 640)


def test_classes_that_grew_and_shrank_are_told_apart():
    found = label_shift(given("old", a=500, b=500), given("new", a=700, b=300))
    assert {each.label: each.change for each in found.certain} == {"a": "grew", "b": "shrank"}
    assert found.distance.low < 0.2 < found.distance.high


def test_the_same_videos_have_no_distance():
    found = label_shift(drawn(1), drawn(1))
    assert found.certain == ()
    assert found.distance.value == 0


def test_a_distance_of_nothing_has_an_interval_all_the_same():
    found = [label_shift(drawn(seed), drawn(1000 + seed)).distance for seed in range(40)]
    assert min(each.value for each in found) == 0
    assert all(each.low <= each.value < each.high for each in found)


def test_a_video_of_a_class_never_seen_is_no_change_by_itself():
    found = label_shift(given("old", a=500), given("new", a=499, rare=1))
    assert found.certain == ()
    assert {each.label: each.change for each in found.classes}["rare"] == "appeared"


def test_a_run_without_labels_is_refused():
    with pytest.raises(ValueError, match="without labels"):
        label_shift(LabelCounts(), drawn(1))


def test_few_videos_have_a_distance_that_is_not_known():
    found = label_shift(given("old", a=1), given("new", a=1))
    assert np.isnan(found.distance.value) or found.distance.value == 0
