"""A few mutants of every container, always the same ones; `fuzz.py` makes more."""

import random

from tests.attacks import fuzz


def test_mutants_of_every_container_end_as_rows_and_the_same_ones_twice(tmp_path):
    originals = fuzz.originals(tmp_path, None)
    count = 3 * len(fuzz.CONTAINERS)
    counts = fuzz.fuzz(originals, seed=0, folder=tmp_path, count=count, keep=tmp_path / "bad")
    assert sum(counts.values()) == count
    assert [name for name in counts if name in fuzz.BAD] == []
    assert counts["ok"] > 0
    assert len(counts) >= 2


def test_the_same_seed_makes_the_same_mutants():
    originals = {"a": random.Random(0).randbytes(1000), "b": b"abc"}
    one, other = (fuzz.mutants(originals, seed=7) for _ in range(2))
    assert [next(one) for _ in range(50)] == [next(other) for _ in range(50)]
    assert next(fuzz.mutants(originals, seed=8)) != next(fuzz.mutants(originals, seed=7))
