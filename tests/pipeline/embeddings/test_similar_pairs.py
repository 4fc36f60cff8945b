"""All pairs above a threshold are found, whatever the vectors; a share of them has its measure."""

import itertools

import numpy as np
import pytest

from pipeline.embeddings import similar_pairs as module
from pipeline.embeddings.similar_pairs import groups_of, similar_pairs


def brute(vectors, threshold):
    """Pairs by plain numpy in float64."""
    all_ = vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        units = all_ / np.linalg.norm(all_, axis=1)[:, None]
        cosines = units @ units.T
    first, second = np.nonzero(np.triu(np.where(np.isfinite(cosines), cosines, -2) >= threshold, 1))
    return set(zip(first.tolist(), second.tolist(), strict=True))


def pairs_of(found):
    return list(zip(found.first.tolist(), found.second.tolist(), strict=True))


def clustered(draw, n, d, spread, clusters=12):
    centers = draw.normal(size=(clusters, d))
    return (centers[draw.integers(0, clusters, n)] + spread * draw.normal(size=(n, d))).astype(
        np.float16
    )


@pytest.mark.parametrize("seed", range(30))
def test_pairs_are_those_of_brute_force_for_any_shape_and_any_blocks(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    monkeypatch.setattr(module, "_LEFT_ROWS", int(draw.choice([7, 1024])))
    monkeypatch.setattr(module, "BLOCK_ROWS", int(draw.choice([13, 8192])))
    d = int(draw.choice([1, 3, 20, 60, 100]))
    vectors = clustered(draw, int(draw.integers(2, 500)), d, draw.choice([0.01, 0.1, 0.5, 2]))
    threshold = float(draw.choice([0.5, 0.9, 0.98, 0.999]))
    vectors = np.unique(vectors, axis=0)
    found = similar_pairs(vectors, threshold, most=10**9)
    expected = brute(vectors, threshold)
    near_the_edge = {
        pair
        for pair in expected ^ set(pairs_of(found))
        if abs(_cosine(vectors, *pair) - threshold) < 1e-12
    }
    assert set(pairs_of(found)) ^ expected == near_the_edge
    assert len(set(pairs_of(found))) == len(found.first)
    assert (found.first < found.second).all()
    assert found.complete
    assert found.recall is None
    for pair, cosine in zip(pairs_of(found), found.cosines, strict=True):
        assert cosine == pytest.approx(_cosine(vectors, *pair), abs=1e-12)


def _cosine(vectors, one, other):
    a, b = vectors[one].astype(np.float64), vectors[other].astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_vectors_that_are_equal_to_the_bit_are_one_group_and_few_pairs():
    vectors = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float16).repeat(1000, axis=0)
    found = similar_pairs(vectors, 0.99, most=100)
    assert found.complete
    assert len(found.first) == 5 * 999
    assert groups_of(found, 5000) == [list(range(g * 1000, (g + 1) * 1000)) for g in range(5)]


def test_vectors_without_a_direction_are_in_no_pair():
    vectors = np.ones((6, 4), np.float16)
    vectors[1], vectors[2], vectors[3, 0], vectors[4, 0] = 0, 0, np.nan, np.inf
    found = similar_pairs(vectors, 0.5, most=9)
    assert pairs_of(found) == [(0, 5)]
    assert found.unusable == 4


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_vectors_have_no_pairs(count):
    found = similar_pairs(np.ones((count, 3), np.float16), 0.5, most=9)
    assert (len(found.first), groups_of(found, count)) == (0, [])


def test_the_search_ends_at_the_number_of_pairs_that_is_wanted_and_says_so():
    vectors = clustered(np.random.default_rng(0), 300, 40, 0.01, clusters=1)
    found = similar_pairs(vectors, 0.9, most=1000)
    assert (len(found.first), found.complete) == (1000, False)
    assert set(pairs_of(found)) <= brute(vectors, 0.9)


def test_groups_are_what_chains_of_pairs_connect():
    draw = np.random.default_rng(3)
    vectors = clustered(draw, 400, 3, 0.3)
    found = similar_pairs(vectors, 0.999, most=10**6)
    groups = groups_of(found, len(vectors))
    member = {place: number for number, group in enumerate(groups) for place in group}
    expected = brute(vectors, 0.999)
    assert all(member[one] == member[other] for one, other in expected)
    for group in groups:
        reached = {group[0]}
        while (
            more := {
                b
                for a, b in itertools.chain(expected, ((y, x) for x, y in expected))
                if a in reached
            }
            - reached
        ):
            reached |= more
        assert reached == set(group)


def test_cells_alone_find_nearly_all_near_pairs_and_measure_how_many():
    draw = np.random.default_rng(0)
    vectors = clustered(draw, 6000, 96, 0.8, clusters=60)
    copies = draw.permutation(6000)
    noise = 1 + 0.1 * draw.normal(size=(3000, 96))
    vectors[copies[3000:]] = (vectors[copies[:3000]] * noise).astype(np.float16)
    expected = brute(vectors, 0.98)
    found = similar_pairs(vectors, 0.98, most=10**6, most_products=0)
    assert set(pairs_of(found)) <= expected
    assert len(set(pairs_of(found))) == len(found.first)
    share = len(found.first) / len(expected)
    assert share > 0.95
    assert found.recall.low - 0.02 <= share <= found.recall.high + 0.02
    assert found.compared < 0.1
    exact = similar_pairs(vectors, 0.98, most=10**6, most_products=np.inf)
    assert set(pairs_of(exact)) == expected


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_that_is_no_cosine_above_0_is_refused(threshold):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        similar_pairs(np.ones((2, 3), np.float16), threshold, most=9)
