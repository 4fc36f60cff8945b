import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.heads import fitting
from pipeline.heads.fitting import Method, fit, fit_all
from tests.pipeline.heads.gaussian import (
    features_of_videos,
    independent_labels,
    one_label,
    several_classes,
    spec,
)

NEAREST = Method("nearest-mean")


def logits(features, targets, method):
    return fit(features.means, targets, method).logits(features.means)


@pytest.mark.parametrize(("videos", "channels"), [(90, 12), (30, 60)])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_folded_head_is_the_pipeline_of_scaler_and_regression(
    videos, channels, classes, monkeypatch
):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    monkeypatch.setattr(fitting, "_TOLERANCE", 1e-9)  # so that both reach the same optimum
    features, targets = several_classes(videos, classes, channels=channels, views=1)
    ours = fit(features.means, targets, Method("logistic", 10.0))
    regression = LogisticRegression(C=0.1, tol=1e-9, max_iter=10000)
    expected = make_pipeline(StandardScaler(), regression).fit(features.means, targets.codes)
    head = ours.head(targets.classes, spec(channels), "softmax")
    np.testing.assert_allclose(
        head.probabilities(features.views), expected.predict_proba(features.means), atol=1e-6
    )


def test_nearest_mean_is_the_smallest_distance_to_a_mean():
    features, targets = several_classes(60, 4)
    means = features.means
    standardized = (means - means.mean(axis=0)) / means.std(axis=0)
    centers = np.stack([standardized[targets.codes == each].mean(axis=0) for each in range(4)])
    distances = ((standardized[:, None] - centers) ** 2).sum(axis=2)
    found = logits(features, targets, NEAREST).argmax(axis=1)
    assert (found == distances.argmin(axis=1)).all()


def test_a_class_with_few_videos_is_as_near_as_others():
    # All videos are drawn alike, so no class should be the label of more than its share.
    draw = np.random.default_rng(0)
    codes = np.repeat(np.arange(4), [2, 20, 20, 20])
    train = features_of_videos(draw.normal(size=(62, 200)), views=1)
    made = fit(train.means, one_label(codes), NEAREST)
    labels = made.logits(draw.normal(size=(2000, 200))).argmax(axis=1)
    assert 0.1 < (labels == 0).mean() < 0.6


def test_independent_labels_are_found_by_each_method():
    features, targets = independent_labels(200, 3)
    for method in (NEAREST, Method("logistic", 1.0)):
        found = logits(features, targets, method) > 0
        assert (found == targets.matrix).mean() > 0.9


def test_a_label_that_no_video_has_is_scored_by_its_frequency():
    features, targets = independent_labels(50, 3)
    targets.matrix[:, 1] = False
    for method in (NEAREST, Method("logistic", 1.0)):
        made = fit(features.means, targets, method)
        assert (made.weight[1] == 0).all()
        assert 1 / (1 + np.exp(-made.bias[1])) == pytest.approx(0.5 / 51)


def test_a_channel_that_never_varies_has_no_weight():
    features, targets = several_classes(40, 2)
    features.views[:, 3] = 7.0
    for method in (NEAREST, Method("logistic", 1.0)):
        assert np.abs(fit(features.means, targets, method).weight[:, 3]).max() < 1e-9


def test_a_weaker_penalty_begins_at_a_stronger_one_and_ends_where_it_would_alone():
    features, targets = several_classes(60, 3)
    methods = [Method("logistic", each) for each in (100.0, 1.0)]
    *_, last = fit_all(features.means, targets, methods)
    alone = fit(features.means, targets, methods[-1])
    np.testing.assert_allclose(last.weight, alone.weight, atol=0.02)


def test_a_missing_scikit_learn_is_said_with_its_command(monkeypatch):
    monkeypatch.setattr(fitting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install -c constraints.txt -e '\.\[heads\]'"):
        fitting.check_installed()
