"""Scores of a population: found by unit, in the order of ids, and spread over them or not."""

import numpy as np
import pytest

from pipeline.inputs.manifest import unit_id
from pipeline.questions.columns import groups_of
from pipeline.questions.population_scores import PopulationScores, keys_of
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.questions.earlier_runs import earlier_run


def made(missing):
    """Scores of as many units, some of them missing."""
    count = len(missing)
    return PopulationScores(
        keys=np.arange(count, dtype=np.uint64),
        groups=np.zeros(count, np.int8),
        scores=np.zeros((count, 1), np.float32),
        chosen=np.where(missing, -3, -1).astype(np.int8),
    )


def test_keys_sort_as_ids_do():
    ids = np.array([unit_id(str(n)) for n in range(500)], dtype=np.bytes_)
    keys = keys_of(ids)
    assert (np.argsort(keys) == np.argsort(ids)).all()
    assert int(keys[0]) == int(ids[0][:16], 16)
    assert len(keys_of(np.empty(0, "S20"))) == 0


def test_each_unit_has_its_own_score_whichever_file_it_stands_in(tmp_path):
    names = [f"{n}.mp4" for n in range(300)]
    scores = np.random.default_rng(0).random((300, 3)).astype(np.float32)
    run = RunDirectory(Location.of(earlier_run(tmp_path, names, scores)))
    found = PopulationScores.read(run, [2, 0], manifest=run.manifest, groups=groups_of(run, None))
    places = found.places(np.array([unit_id(name) for name in names], dtype=np.bytes_))
    assert sorted(places.tolist()) == list(range(300))
    assert (found.scores[places] == scores[:, [2, 0]]).all()
    chosen = {2: 0, 1: -1, 0: 1}
    assert found.chosen[places].tolist() == [chosen[int(row.argmax())] for row in scores]
    assert found.mean(1, None) == pytest.approx(scores[:, 0].mean(dtype=np.float64))
    assert found.places(np.array([unit_id("x")], dtype=np.bytes_)).tolist() == [-1]


def test_the_only_group_is_that_of_all_units(tmp_path):
    names = [f"day/{n}.mp4" for n in range(20)]
    run = RunDirectory(Location.of(earlier_run(tmp_path, names, np.full((20, 3), 0.5))))
    groups = groups_of(run, lambda ids: [each.split("/")[0] for each in ids])
    found = PopulationScores.read(run, [0], manifest=run.manifest, groups=groups)
    assert found.mean(0, 0) == found.mean(0, None) == 0.5


def test_units_that_are_missing_by_chance_are_even():
    draw = np.random.default_rng(1)
    for share in (0.001, 0.1, 0.5, 0.99):
        assert not any(made(draw.random(5000) < share).lacks_a_part() for _ in range(100))
    assert not made(np.zeros(100, bool)).lacks_a_part()
    assert not made(np.ones(100, bool)).lacks_a_part()
    assert not made(np.zeros(0, bool)).lacks_a_part()


@pytest.mark.parametrize("place", [slice(0, 60), slice(0, 5000), slice(3000, 8000)])
def test_a_part_of_the_order_that_is_missing_is_uneven(place):
    missing = np.zeros(100_000, bool)
    missing[place] = True
    assert made(missing).lacks_a_part()
