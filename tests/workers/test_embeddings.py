"""Embeddings as Arrow columns: one float16 list per view, to the bit and back."""

import numpy as np
import pyarrow as pa
import pytest

from workers.embeddings import lists_of, vectors_of, with_embeddings
from workers.schema import UNITS_SCHEMA


def vectors(count, channels=5):
    return np.random.default_rng(3).normal(size=(count, channels)).astype(np.float16)


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (7, 192)])
def test_vectors_come_back_to_the_bit(shape):
    made = vectors(*shape)
    lists = lists_of(made)
    assert lists.type == pa.list_(pa.float16())
    back = vectors_of(lists)
    assert back.dtype == np.float16
    assert np.array_equal(back, made) or shape[0] == 0


def test_chunks_and_slices_come_back_in_order():
    made = vectors(10)
    chunked = pa.chunked_array([lists_of(made[:3]), lists_of(made[3:]).slice(2, 4)])
    assert np.array_equal(vectors_of(chunked), made[[0, 1, 2, 5, 6, 7, 8]])


@pytest.mark.parametrize("lists", [[[1.0, 2.0], None], [[1.0, 2.0], [3.0]]])
def test_lists_that_are_null_or_of_other_lengths_are_refused(lists):
    with pytest.raises(ValueError, match="equal length"):
        vectors_of(pa.array(lists, pa.list_(pa.float16())))


def units():
    """Units with 2, none (failed), and 1 views."""
    rows = [
        {"unit_id": "a", "status": "ok", "views": [{"clip": 0, "crop": 0}, {"clip": 0, "crop": 1}]},
        {"unit_id": "b", "status": "failed", "views": None},
        {"unit_id": "c", "status": "ok", "views": [{"clip": 3, "crop": 0}]},
    ]
    return pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)


def test_each_view_gets_its_own_and_nothing_else_changes():
    made = vectors(3)
    table = with_embeddings(units(), list(made))
    assert table.schema.equals(UNITS_SCHEMA)
    rows, before = table.to_pylist(), units().to_pylist()
    found = [view.pop("embedding") for row in rows for view in row["views"] or []]
    assert np.array_equal(np.array(found, np.float16), made)
    for row in before:
        for view in row["views"] or []:
            view.pop("embedding")
    assert rows == before


def test_a_slice_of_a_table_is_filled_too():
    made = vectors(1)
    table = with_embeddings(units().slice(1), list(made))
    assert table["views"].to_pylist()[0] is None
    assert np.array_equal(table["views"].to_pylist()[1][0]["embedding"], made[0])


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_than_that_of_the_views_is_refused(count):
    with pytest.raises(ValueError, match="3 views have"):
        with_embeddings(units(), list(vectors(count)))
