import numpy as np
import pytest

from pipeline.heads.folds import ALWAYS_TRAINING, stratified_folds, stratified_subset
from tests.pipeline.heads.gaussian import independent_labels


def rng():
    return np.random.default_rng(0)


def test_folds_hold_each_class_evenly():
    strata = np.repeat([0, 1, 2], [50, 23, 7])
    folds = stratified_folds(strata, 5, rng())
    assert np.ptp(np.bincount(folds)) <= 1
    for each in range(3):
        assert np.ptp(np.bincount(folds[strata == each], minlength=5)) <= 1


def test_a_video_that_is_alone_in_its_class_is_always_trained_on():
    folds = stratified_folds(np.array([0, 0, 0, 1]), 2, rng())
    assert folds[3] == ALWAYS_TRAINING
    assert set(folds[:3]) == {0, 1}


def test_each_class_stays_in_the_training_of_each_fold():
    strata = np.repeat(np.arange(10), 2)
    folds = stratified_folds(strata, 5, rng())
    for fold in range(5):
        assert set(strata[folds != fold]) == set(range(10))


@pytest.mark.parametrize("share", [0.01, 0.25, 0.75])
def test_a_subset_has_its_share_of_each_class_and_one_video_at_least(share):
    strata = np.repeat([0, 1, 2], [40, 20, 1])
    chosen = stratified_subset(strata, share, rng())
    assert (np.bincount(strata[chosen]) == [max(1, round(share * n)) for n in (40, 20, 1)]).all()


def test_videos_of_several_labels_go_by_the_rarest_and_those_of_none_together():
    _, targets = independent_labels(100, 3)
    strata = targets.strata
    counts = targets.counts
    for row, stratum in zip(targets.matrix, strata, strict=True):
        if not row.any():
            assert stratum == 3
        else:
            assert counts[stratum] == counts[row].min()
