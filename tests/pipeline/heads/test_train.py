import json

import numpy as np
import pytest

from pipeline.heads.samples import LabeledFeatures
from pipeline.heads.train import train_head
from sta.heads import head_bytes, parse_head
from tests.pipeline.heads.gaussian import (
    best_accuracy,
    features_of_videos,
    independent_labels,
    one_label,
    several_classes,
    spec,
    two_classes,
)


def trained(features, targets, **more):
    return train_head(features, targets, spec(features.views.shape[1]), **more)


@pytest.fixture(scope="module")
def known():
    return two_classes(400)


@pytest.fixture(scope="module")
def of_known(known):
    return trained(*known, license="MIT", labels_license="CC0-1.0")


def test_the_interval_of_the_accuracy_holds_the_best_that_is_possible(of_known):
    accuracy = of_known.report.accuracy.overall
    assert accuracy.count == 400
    assert accuracy.low <= best_accuracy(2.0) <= accuracy.high


def test_the_accuracy_is_that_of_videos_which_nobody_labeled(of_known):
    fresh, truth = two_classes(4000, seed=1)
    scores = fresh.averaged(of_known.head.probabilities(fresh.views))
    measured = (scores.argmax(axis=1) == truth.codes).mean()
    accuracy = of_known.report.accuracy.overall
    assert accuracy.low <= measured <= accuracy.high


def test_labels_at_random_are_found_to_be_worth_nothing(known):
    features, targets = known
    codes = np.random.default_rng(3).permutation(targets.codes)
    report = trained(features, one_label(codes)).report
    assert report.accuracy.overall.low <= 0.5 <= report.accuracy.overall.high
    assert report.accuracy.per_class.low <= 0.5 <= report.accuracy.per_class.high


def test_the_same_labels_give_the_same_file(known, of_known):
    again = trained(*known, license="MIT", labels_license="CC0-1.0")
    assert head_bytes(again.head) == head_bytes(of_known.head)


def test_more_labels_are_found_to_help_where_they_do():
    report = trained(*several_classes(160, 8, apart=1.0, channels=40)).report
    first, *_, last = report.curve.points
    assert last.accuracy.value > first.accuracy.value + 0.05
    assert report.curve.videos == 320
    assert last.accuracy.value - 0.02 <= report.curve.forecast.value
    assert report.curve.forecast.low <= report.curve.forecast.value <= report.curve.forecast.high


def test_scores_of_held_out_videos_are_calibrated(of_known):
    assert of_known.report.calibration.after < 0.08


@pytest.mark.parametrize("method", ["logistic", "nearest-mean"])
def test_a_method_that_is_asked_for_is_used(known, method):
    report = trained(*known, method=method).report
    said = {"logistic": "logistic regression", "nearest-mean": "nearest class mean"}[method]
    assert all(each.startswith(said) for each in (report.method, *report.folds_methods))


def test_few_labels_take_the_nearest_mean_and_are_named():
    report = trained(*several_classes(12, 4)).report
    assert report.method == "nearest class mean"
    assert report.few == [f"class {number:02}" for number in range(4)]
    assert report.curve is None


def test_a_class_with_one_video_is_in_the_head_and_not_in_the_accuracy():
    features, _ = several_classes(41, 2)
    codes = np.append(np.arange(40) % 2, 2)
    made = trained(features, one_label(codes))
    assert made.head.labels == ("class 00", "class 01", "class 02")
    assert made.report.accuracy.overall.count == 40
    assert made.report.accuracy.classes[2].held_out == 0
    assert any("'class 02'" in note for note in made.report.notes)


def test_where_no_class_has_two_videos_nothing_is_measured_and_that_is_said():
    features, _ = several_classes(8, 8)
    made = trained(features, one_label(np.arange(8)))
    assert made.report.accuracy.overall.count == 0
    assert made.report.to_json()["accuracy"]["overall"]["value"] is None
    assert "nothing could be measured" in made.report.notes[0]
    assert made.head.temperature > 0
    scores = made.head.probabilities(features.means)
    assert (scores.argmax(axis=1) == np.arange(8)).all()


def test_independent_labels_are_measured_by_f1_and_average_precision():
    features, targets = independent_labels(200, 3)
    made = trained(features, targets)
    assert made.head.kind == "sigmoid"
    accuracy = made.report.accuracy
    assert accuracy.overall.low <= accuracy.overall.value <= accuracy.overall.high
    assert accuracy.overall.value > 0.9
    for each in accuracy.classes:
        assert each.average_precision > 0.95
        assert each.f1 > 0.85
        assert each.labels == each.held_out


def test_independent_labels_at_random_have_the_precision_of_their_frequency():
    features, targets = independent_labels(200, 2)
    shuffled = np.random.default_rng(5).permutation(targets.matrix)
    report = trained(features, type(targets)(targets.classes, shuffled, "sigmoid")).report
    for each, frequency in zip(report.accuracy.classes, shuffled.mean(axis=0), strict=True):
        assert abs(each.average_precision - frequency) < 0.15


def test_what_is_confused_is_named():
    draw = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 40)
    videos = draw.normal(size=(120, 6)) * 0.5
    videos[codes == 2, 0] += 10  # the other two look alike
    pairs = trained(features_of_videos(videos), one_label(codes)).report.accuracy.confusions
    assert {(each.truth, each.predicted) for each in pairs} == {
        ("class 00", "class 01"),
        ("class 01", "class 00"),
    }


def test_the_file_says_what_is_known_of_the_head(of_known):
    head = parse_head(head_bytes(of_known.head), "head")
    assert head.license == "MIT"
    assert head.trained["labels_license"] == "CC0-1.0"
    assert head.trained == json.loads(json.dumps(of_known.report.to_json()))
    assert head.trained["accuracy"]["overall"]["value"] == of_known.report.accuracy.overall.value


def test_videos_of_different_numbers_of_views_count_once_each():
    features, targets = two_classes(100)
    rows = np.concatenate([np.arange(2 * 50), 2 * np.arange(50, 100)])
    starts = np.concatenate([2 * np.arange(50), 100 + np.arange(51)])
    some = LabeledFeatures(features.video_ids, features.views[rows], starts)
    assert trained(some, targets).report.accuracy.overall.count == 100
