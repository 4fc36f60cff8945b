"""Drift of embeddings: none is found where there is none, and a shift is; intervals hold."""

import math

import numpy as np
import pytest

from pipeline.embeddings.drift import Farthest, Yardstick, population_shift
from pipeline.embeddings.sampling import VideoSample

CHANNELS = 12


def vectors(seed, count, *, shift=0.0):
    drawn = np.random.default_rng(seed).normal(size=(count, CHANNELS))
    drawn *= np.linspace(3, 0.1, CHANNELS)
    drawn[:, 5] += shift
    return drawn.astype(np.float16)


def names(run, count):
    return [f"{run} {number}" for number in range(count)]


def sample(seed, count=120, *, run=None, shift=0.0, order=None):
    ids, rows = names(run or seed, count), vectors(seed, count, shift=shift)
    if order is not None:
        ids, rows = [ids[place] for place in order], rows[order]
    made = VideoSample()
    made.add(ids, ids, ["a"] * count, rows)
    return made


def test_two_draws_of_one_population_are_no_drift():
    found = [population_shift(sample(seed), sample(1000 + seed)) for seed in range(100)]
    assert sum(each.low > 0.5 for each in found) <= 5
    assert sum(each.low <= 0.5 <= each.high for each in found) >= 93


def test_a_shift_of_the_mean_is_found_and_its_size_is_within_the_interval():
    # Fisher's discriminant of two normal populations is right with Phi(shift / 2 sigma).
    shift = 2.4
    sigma = np.linspace(3, 0.1, CHANNELS)[5]
    truth = 0.5 * (1 + math.erf(shift / (2 * sigma) / math.sqrt(2)))
    found = [
        population_shift(sample(seed, 1000), sample(1000 + seed, 1000, shift=shift))
        for seed in range(30)
    ]
    assert all(each.low > 0.5 for each in found)
    assert sum(each.low <= truth <= each.high for each in found) >= 26


def test_the_same_videos_in_both_runs_are_no_drift():
    assert population_shift(sample(1, run="x"), sample(1, run="x")).value == 0.5


def test_the_order_of_rows_changes_nothing():
    order = np.random.default_rng(9).permutation(120)
    assert population_shift(sample(1), sample(2, order=order)) == population_shift(
        sample(1), sample(2)
    )


def test_too_few_videos_have_no_shift():
    assert population_shift(sample(1, 8), sample(2)) is None
    assert population_shift(sample(1), VideoSample()) is None


def test_constant_embeddings_are_no_drift():
    ones = VideoSample(), VideoSample()
    for run, made in zip("ab", ones, strict=True):
        made.add(names(run, 60), names(run, 60), ["a"] * 60, np.ones((60, 4), np.float16))
    assert population_shift(*ones).value == 0.5


def test_videos_of_the_same_population_are_as_far_from_it_as_its_own():
    found = [Yardstick(sample(seed)).unseen(sample(1000 + seed)) for seed in range(100)]
    assert sum(each.difference.low <= 0 <= each.difference.high for each in found) >= 90
    assert np.mean([each.share.value for each in found]) == pytest.approx(0.05, abs=0.02)


def test_the_yardstick_is_the_distance_to_the_nearest_other_video():
    rows = np.array([[1, 0], [1, 0.1], [0, 1]], np.float16)
    made = VideoSample()
    made.add(["a", "b", "c"], ["a", "b", "c"], ["x", "y", "z"], rows)
    near = 1 - 1 / math.hypot(1, 0.1)
    assert Yardstick(made).usual == pytest.approx(near, abs=1e-4)
    assert Yardstick(made).limit == math.inf  # three videos say nothing of the farthest 5 %
    assert Yardstick(made).unseen(made) is None


def test_the_farthest_videos_are_found_among_all_and_name_their_nearest():
    yardstick = Yardstick(sample(0, 200))
    far = Farthest(yardstick, 2)
    rows = vectors(0, 200)
    odd = np.zeros((3, CHANNELS), np.float16)
    odd[:, -1] = [1, 1, -1]
    far.add(names(0, 200), names(0, 200), ["a"] * 200, [None] * 200, rows)
    units = ["odd/0", "odd/1", "other/0"]
    far.add(["odd", "odd", "other"], units, ["b", "b", "c"], [0.0, 32.0, 0.0], odd)
    found = far.units()
    assert {unit.video_id for unit in found} == {"odd", "other"}
    assert all(unit.distance > yardstick.limit for unit in found)
    assert all(unit.nearest.startswith("0 ") and unit.nearest_label == "a" for unit in found)
    assert found[0].distance >= found[1].distance


def test_an_embedding_of_zeros_has_a_distance():
    far = Farthest(Yardstick(sample(0, 30)), 1)
    far.add(["dark"], ["dark"], ["a"], [None], np.zeros((1, CHANNELS), np.float16))
    assert far.units()[0].distance == 1.0


def test_a_reference_without_videos_is_refused():
    with pytest.raises(ValueError, match="no yardstick"):
        Yardstick(VideoSample())
