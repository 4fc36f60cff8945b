"""An index finds nearly the videos that comparing all finds, with the same cosines and places."""

import importlib.util

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.search import lance_index as module
from pipeline.search.find import Search, find
from pipeline.search.lance_index import find_by_index
from pipeline.search.query import read_query
from pipeline.search.similar import find_similar
from pipeline.storage.location import Location
from tests.embedding_runs import embedding_run, with_vectors
from tests.pipeline.run.test_tables import ok
from tests.scale.embeddings_at_size import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from pipeline.run.run_directory import RunDirectory

    folder = tmp_path_factory.mktemp("indexed")
    make_run(folder / "run", rows=12_000, views=2, channels=48)
    return RunDirectory(Location.of(str(folder / "run")))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return Location.of(str(tmp_path_factory.mktemp("index")))


@pytest.mark.parametrize("time_s", ["", "@1"])
def test_an_index_finds_nearly_all_of_the_nearest_videos(run, index, time_s, monkeypatch):
    monkeypatch.setattr(module, "_PROBES", 10)
    hits = 0
    for number in range(0, 6000, 300):
        query = read_query(run, f"2026/11/24/video-{number:09d}.mp4{time_s}")
        exact = {e.video.video_id: e for e in find_similar(run, query, 10).found}
        by_index = find_by_index(run, query, 10, index)
        found = {e.video.video_id: e for e in by_index.found}
        assert len(found) == 10
        assert query.video.video_id not in found
        for name in exact.keys() & found.keys():
            assert found[name] == exact[name]
            hits += 1
    assert hits / 200 > 0.95
    assert (by_index.index, by_index.searched) == (index.uri, 11_998 if time_s else 5999)


def test_the_views_of_one_video_do_not_crowd_out_the_others(tmp_path):
    draw = np.random.default_rng(0)
    first = with_vectors(ok("a"), np.ones((90, 4), np.float16))
    rows = [first] + [
        with_vectors(ok(f"v{n}"), draw.normal(size=(2, 4)).astype(np.float16)) for n in range(5)
    ]
    run = embedding_run(tmp_path / "run", rows, clips=90)
    query = read_query(run, "v0@0")
    found = find_by_index(run, query, 3, Location.of(str(tmp_path / "index")))
    exact = find_similar(run, query, 3)
    assert found.found == exact.found


def test_an_index_of_another_run_is_refused(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float16)
    runs = [
        embedding_run(tmp_path / name, [with_vectors(ok("a"), vectors)]) for name in ("one", "two")
    ]
    for run in runs:
        run.create(run.load())
    place = str(tmp_path / "index")
    find(Search(runs[0].root.uri, like="a", index=place))
    with pytest.raises(UsageError, match="holds the embeddings of another run"):
        find(Search(runs[1].root.uri, like="a", index=place))


def test_a_missing_library_names_its_extra(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    query = read_query(run, "2026/11/24/video-000000000.mp4")
    with pytest.raises(UsageError, match=r"needs the package lance, which the extra 'lance'"):
        find_by_index(run, query, 3, Location.of("/nowhere"))
