"""Neighbors are those of comparing all vectors, whatever the batches and whatever the vectors."""

import tracemalloc

import numpy as np
import pytest

from pipeline.embeddings.nearest import NearestSearch


def brute(query, vectors, keys, k, left_out=()):
    """Keys and cosines by plain numpy in float64, over all vectors at once."""
    one, all_ = query.astype(np.float64), vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        cosines = all_ @ one / (np.linalg.norm(one) * np.linalg.norm(all_, axis=1))
    best = {}
    for row in sorted(np.flatnonzero(np.isfinite(cosines)), key=lambda row: (-cosines[row], row)):
        if keys[row] not in left_out:
            best.setdefault(keys[row], (row, cosines[row]))
    return [(key, *found) for key, found in best.items()][:k]


def search(queries, vectors, keys, k, cuts=(), left_out=()):
    made = NearestSearch(queries, k, left_out=left_out)
    for start, stop in zip([0, *cuts], [*cuts, len(vectors)], strict=True):
        made.add(vectors[start:stop], keys[start:stop], range(start, stop))
    return made


@pytest.mark.parametrize("seed", range(40))
def test_neighbors_are_those_of_brute_force_for_any_shape_and_any_batches(seed):
    draw = np.random.default_rng(seed)
    n, d, q = int(draw.integers(1, 400)), int(draw.integers(1, 70)), int(draw.integers(1, 4))
    vectors = draw.normal(size=(n, d)).astype(np.float16) * np.float16(draw.choice([1e-3, 1, 50]))
    vectors[draw.random(n) < 0.1] = 0
    queries = draw.normal(size=(q, d)).astype(np.float16)
    keys = draw.integers(0, max(1, n // 3), n).tolist()
    k = int(draw.integers(1, 30))
    cuts = sorted(draw.integers(0, n + 1, int(draw.integers(0, 6))).tolist())
    made = search(queries, vectors, keys, k, cuts, left_out={0})
    for number, query in enumerate(queries):
        found = made.neighbors(number)
        expected = brute(query, vectors, keys, k, {0})
        assert [each.key for each in found] == [key for key, _, _ in expected]
        assert [each.row for each in found] == [row for _, row, _ in expected]
        assert np.allclose([each.cosine for each in found], [c for _, _, c in expected], atol=1e-9)
        assert [each.values for each in found] == [(each.row,) for each in found]
    assert made.compared == n - keys.count(0)
    assert (made.added, made.unusable) == (n, int((~vectors.any(axis=1)).sum()))


def test_batches_change_nothing_to_the_last_digit():
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(20_000, 33)).astype(np.float16)
    vectors[::3] = vectors[0]
    keys = list(range(len(vectors)))
    whole = search(vectors[:1], vectors, keys, 50).neighbors()
    for cuts in ([1, 2, 3], [8192], list(range(777, 20_000, 777))):
        assert search(vectors[:1], vectors, keys, 50, cuts).neighbors() == whole


def test_of_equally_near_vectors_the_first_ones_are_taken():
    vectors = np.ones((5000, 8), np.float16)
    found = search(vectors[:1], vectors, list(range(5000)), 7, [2000, 2001]).neighbors()
    assert [each.key for each in found] == list(range(7))
    assert {each.cosine for each in found} == {1.0}


def test_vectors_without_a_direction_are_nobodys_neighbors():
    vectors = np.ones((6, 4), np.float16)
    vectors[1], vectors[2, 0], vectors[3, 1] = 0, np.nan, np.inf
    made = search(vectors[:1], vectors, list("abcdef"), 9)
    assert [each.key for each in made.neighbors()] == ["a", "e", "f"]
    assert made.unusable == 3


def test_the_largest_and_smallest_numbers_of_float16_have_directions():
    vectors = np.array([[65504] * 8, [6e-8] * 8, [-65504] * 8], np.float16)
    found = search(vectors[:1], vectors, list("abc"), 3).neighbors()
    assert [(each.key, each.cosine) for each in found] == [("a", 1.0), ("b", 1.0), ("c", -1.0)]


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_query_without_a_direction_is_refused(value):
    with pytest.raises(ValueError, match="all zero or not finite"):
        NearestSearch(np.full((1, 4), value, np.float16), 3)


def test_fewer_neighbors_than_one_are_refused_and_so_are_other_channels():
    query = np.ones((1, 4), np.float16)
    with pytest.raises(ValueError, match="k must be 1 or more; got 0"):
        NearestSearch(query, 0)
    with pytest.raises(ValueError, match="4 channels, and the vectors 5"):
        NearestSearch(query, 1).add(np.ones((2, 5), np.float16), [0, 1])


def test_memory_does_not_grow_with_the_number_of_vectors():
    def peak(batches):
        draw = np.random.default_rng(0)
        made = NearestSearch(np.ones((1, 64), np.float16), 20)
        tracemalloc.start()
        for number in range(batches):
            vectors = draw.normal(size=(10_000, 64)).astype(np.float16)
            made.add(vectors, range(number * 10_000, (number + 1) * 10_000))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(20) < 1.2 * peak(2)
