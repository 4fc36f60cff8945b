"""The arithmetic of accuracies and of differences, on a made-up sweep."""

import numpy as np
import pytest

import sta
from pipeline.lab.evaluation.scores import accuracy, difference, judge, score_variants
from pipeline.lab.evaluation.variants import PruningVariant
from pipeline.labeling.sweep import Sweep
from tests.pipeline.synthetic_sweep import LABELS, probabilities

DENSE = PruningVariant("unpruned", "", (sta.Pruning(),))
RANDOM = PruningVariant(
    "random", "", tuple(sta.Pruning(r=22, score="random", seed=seed) for seed in (0, 1))
)


def chunk(ground_truths, said, *, failed=0):
    count = len(ground_truths)
    names = list(said)
    return Sweep(
        unit_ids=[str(n) for n in range(count)],
        video_ids=[str(n) for n in range(count)],
        ground_truths=ground_truths,
        probabilities=said,
        flops=dict.fromkeys(names, np.full(count, 200, np.int64)),
        device_ms={name: np.arange(count) * 4.0 for name in names},
        decode_ms=np.zeros(count),
        failed=failed,
    )


def test_a_video_is_correct_by_the_mean_of_its_views_and_each_view_by_itself():
    said = np.array([[[0.9, 0.1, 0.0], [0.0, 0.6, 0.4]]], np.float32)
    top1, top5, views = judge(said, np.array([0]))
    assert (top1.tolist(), top5.tolist(), views.tolist()) == ([1.0], [1.0], [0.5])
    top1, _, views = judge(said, np.array([1]))
    assert (top1.tolist(), views.tolist()) == ([0.0], [0.5])


def test_of_equal_probabilities_the_lower_class_comes_first():
    said = np.full((2, 1, 7), 1 / 7, np.float32)
    top1, top5, _ = judge(said, np.array([0, 5]))
    assert top1.tolist() == [1, 0]
    assert top5.tolist() == [1, 0]


def test_top_five_counts_the_fifth_and_not_the_sixth():
    said = np.array([[[0.3, 0.25, 0.2, 0.1, 0.08, 0.07]]] * 2, np.float32)
    _, top5, _ = judge(said, np.array([4, 5]))
    assert top5.tolist() == [1, 0]


def test_seeds_count_by_the_share_that_was_correct():
    said = {
        "unpruned": probabilities([1, 1, 0]),
        "random-0": probabilities([1, 0, 0]),
        "random-1": probabilities([1, 1, 0]),
    }
    found = score_variants([chunk(["cat"] * 3, said)], [DENSE, RANDOM], LABELS)
    assert found.videos == 3
    assert found.by_variant["random"].top1.tolist() == [1, 0.5, 0]
    assert found.by_variant["random"].seeds == 2
    assert found.by_variant["unpruned"].top1.tolist() == [1, 1, 0]
    assert found.by_variant["unpruned"].ms.tolist() == [0, 2, 4]
    assert found.by_variant["unpruned"].flops.tolist() == [100] * 3


def test_chunks_add_up_and_what_cannot_be_judged_is_counted_and_left_out():
    said = {"unpruned": probabilities([1, 1, 1, 0], ground_truths=[0, 1, 0, 2])}
    first = chunk(["cat", "dog", None, "emu"], said, failed=2)
    second = chunk(["yak", "cat"], {"unpruned": probabilities([1, 0])}, failed=1)
    found = score_variants([first, second], [DENSE], LABELS)
    assert found.by_variant["unpruned"].top1.tolist() == [1, 1, 0, 0]
    assert (found.videos, found.failed, found.unlabeled) == (4, 3, 1)
    assert found.unknown == {"yak": 1}


def test_a_difference_is_taken_video_by_video():
    """Two variants that err on the same half of the videos do not differ, whatever the half is."""
    hits = np.tile([1.0, 0.0], 100)
    same = difference(hits, hits)
    assert same.value == 0
    assert -0.02 < same.low < 0 < same.high < 0.02
    worse = hits.copy()
    worse[:20:2] = 0
    lost = difference(worse, hits)
    assert lost.value == pytest.approx(-0.05)
    assert -0.09 < lost.low < -0.02 > lost.high - 0.01
    assert lost.high < 0


def test_a_few_videos_that_do_not_differ_leave_a_wide_interval():
    same = difference(np.ones(6), np.ones(6))
    assert same.value == 0
    assert same.low < -0.2
    assert same.high > 0.2


def test_a_share_keeps_an_interval_where_all_are_correct_and_seeds_have_one_too():
    every = accuracy(np.ones(50))
    assert (every.value, every.high) == (1, 1)
    assert 0.9 < every.low < 1
    halves = accuracy(np.tile([1.0, 0.5], 50), seeds=2)
    assert halves.value == 0.75
    assert 0.68 < halves.low < 0.75 < halves.high < 0.82
