"""What is chosen is uncertain, far and spread over clusters, and the same each time."""

from collections import Counter

import numpy as np
import pytest

from pipeline.embeddings.suggestion import choose


def archive(n=3000, clusters=12, rare=6, d=24, seed=0):
    """Videos around centers, the last center of which has a few alone; and their clusters."""
    draw = np.random.default_rng(seed)
    centers = draw.normal(size=(clusters, d))
    of = draw.integers(0, clusters - 1, n)
    of[:rare] = clusters - 1
    vectors = (centers[of] + 0.25 * draw.normal(size=(n, d))).astype(np.float16)
    return vectors, draw.random(n).astype(np.float32), of


def test_half_are_the_least_certain_and_any_first_part_is_mixed():
    vectors, margins, _ = archive()
    picks = choose(vectors, margins, 40)
    assert len({pick.place for pick in picks}) == 40
    for count in (4, 20, 40):
        reasons = Counter(pick.reason for pick in picks[:count])
        assert reasons == {"uncertain": count // 2, "far": count // 4, "cluster": count // 4}
    uncertain = [pick for pick in picks if pick.reason == "uncertain"]
    assert all(pick.value == margins[pick.place] for pick in uncertain)
    assert max(pick.value for pick in uncertain) < 0.03


def test_every_cluster_is_covered_also_a_rare_one():
    vectors, margins, of = archive()
    margins[of == of.max()] = 1.0
    picks = choose(vectors, margins, 48)
    assert set(of[[pick.place for pick in picks]]) == set(of)


def test_what_is_far_is_far_from_all_that_is_labeled_or_stands_before():
    vectors, margins, _ = archive(n=400)
    labeled = vectors[:50]
    picks = choose(vectors[50:], margins[50:], 20, labeled=labeled)
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1)[:, None]
    for number, pick in enumerate(picks):
        if pick.reason == "far":
            before = [*range(50), *(50 + each.place for each in picks[:number])]
            nearest = (units[50:] @ units[before].T).max(axis=1)
            nearest[[each.place for each in picks[:number]]] = np.inf
            assert pick.value == pytest.approx(nearest[pick.place], abs=1e-5)
            assert nearest[pick.place] == pytest.approx(nearest.min(), abs=1e-5)


def test_clusters_with_labels_come_after_those_without():
    vectors, margins, of = archive(n=2400, rare=200)
    free = np.arange(len(of)) % 2 == 0
    labeled = vectors[~free & (of < 6)]
    picks = choose(vectors[free], margins[free], 48, labeled=labeled)
    chosen = of[free][[pick.place for pick in picks if pick.reason == "cluster"]]
    assert (chosen >= 6).mean() > 0.8


def test_nearly_equal_videos_are_not_chosen_as_uncertain_twice():
    vectors, margins, _ = archive(n=500)
    vectors[:100] = vectors[0]
    margins[:100] = 0.0
    picks = choose(vectors, margins, 40)
    copies = [pick for pick in picks if pick.place < 100 and pick.reason == "uncertain"]
    assert len(copies) == 1


def test_the_same_videos_are_chosen_each_time():
    vectors, margins, _ = archive()
    assert choose(vectors, margins, 60) == choose(vectors, margins, 60)


@pytest.mark.parametrize("count", [1, 2, 7, 30, 100])
def test_all_are_chosen_where_there_are_no_more_and_none_without_a_direction(count):
    vectors, margins, _ = archive(n=30)
    vectors[3], vectors[4] = 0, np.nan
    picks = choose(vectors, margins, count)
    assert len({pick.place for pick in picks}) == len(picks) == min(count, 28)
    assert not {3, 4} & {pick.place for pick in picks}


def test_no_videos_have_no_picks():
    assert choose(np.zeros((0, 4), np.float16), np.zeros(0, np.float32), 5) == []
    assert choose(np.zeros((3, 4), np.float16), np.zeros(3, np.float32), 5) == []
    same = choose(np.ones((5, 4), np.float16), np.zeros(5, np.float32), 4)
    assert len(same) == 4
