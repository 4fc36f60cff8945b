import numpy as np
import pytest

from pipeline.heads.calibration import calibration_error, error_of, fit_temperature, scores_of
from pipeline.heads.samples import Targets
from tests.pipeline.heads.gaussian import features_of_videos, one_label


def drawn(count, *, seed=0):
    """Logits of three classes, and labels that are drawn by their probabilities."""
    draw = np.random.default_rng(seed)
    logits = 2 * draw.normal(size=(count, 3))
    scores = scores_of(logits, "softmax")
    codes = (draw.random(count)[:, None] > scores.cumsum(axis=1)).sum(axis=1)
    return logits, one_label(codes, 3), features_of_videos(np.zeros((count, 1)), views=1)


@pytest.mark.parametrize("overconfidence", [0.25, 1.0, 4.0])
def test_a_temperature_undoes_what_logits_were_multiplied_by(overconfidence):
    logits, targets, features = drawn(4000)
    found = fit_temperature(overconfidence * logits, features, targets)
    assert found == pytest.approx(overconfidence, rel=0.1)


def test_an_overconfident_head_is_calibrated_on_videos_that_it_was_not_fitted_to():
    logits, targets, features = drawn(2000)
    temperature = fit_temperature(5 * logits, features, targets)
    fresh, truth, _ = drawn(2000, seed=1)
    before = error_of(scores_of(5 * fresh, "softmax"), truth)
    after = error_of(scores_of(5 * fresh / temperature, "softmax"), truth)
    assert before > 0.15
    assert after < 0.04


def test_a_temperature_is_that_of_scores_averaged_over_views():
    # Views of which each is sure of another class average to what is true: nothing is known.
    count = 1000
    features = features_of_videos(np.zeros((count, 1)), views=2)
    views = np.tile([[4.0, -4.0], [-4.0, 4.0]], (count, 1))
    targets = one_label(np.arange(count) % 2)
    temperature = fit_temperature(views, features, targets)
    scores = features.averaged(scores_of(views / temperature, "softmax"))
    np.testing.assert_allclose(scores, 0.5)


def test_videos_that_are_all_correct_do_not_make_scores_of_one():
    logits = np.tile([[1.0, -1.0]], (20, 1))
    features = features_of_videos(np.zeros((20, 1)), views=1)
    temperature = fit_temperature(logits, features, one_label(np.zeros(20, int), 2))
    assert scores_of(logits / temperature, "softmax").max() < 0.99


def test_independent_labels_have_one_temperature():
    draw = np.random.default_rng(0)
    logits = 2 * draw.normal(size=(3000, 2))
    has = draw.random(logits.shape) < scores_of(logits, "sigmoid")
    targets = Targets(("a", "b"), has, "sigmoid")
    features = features_of_videos(np.zeros((3000, 1)), views=1)
    assert fit_temperature(3 * logits, features, targets) == pytest.approx(3, rel=0.1)
    assert error_of(scores_of(logits, "sigmoid"), targets) < 0.03


def test_the_calibration_error_is_the_mean_gap_of_score_and_accuracy():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, True, False])
    assert calibration_error(confidence, correct) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0
