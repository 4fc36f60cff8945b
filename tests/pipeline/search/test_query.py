"""A video is found by id, uri or path, and a time picks one view; what is wrong is named."""

import dataclasses

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.search.query import read_query
from tests.embedding_runs import CHANNELS, embedding_run, with_vectors
from tests.pipeline.run.test_tables import failed, ok

VECTORS = np.random.default_rng(0).normal(size=(5, 3, CHANNELS)).astype(np.float16)


def row(name, number, **changes):
    made = with_vectors(ok(name), VECTORS[number])
    return made | {"uri": f"/archive/{name}", "duration_s": 3.5} | changes


@pytest.fixture
def run(tmp_path):
    rows = [
        row("birds/one.mp4", 0),
        row("birds/two.mp4", 1, uri="/archive/shard.tar", part="two"),
        row("a@7", 2, uri="/archive/shard.tar", part="a"),
        row("zero", 3),
        failed("broken"),
    ]
    rows[3]["views"] = [view | {"embedding": np.zeros(CHANNELS, "f2")} for view in rows[3]["views"]]
    return embedding_run(tmp_path / "run", rows, clips=3)


@pytest.mark.parametrize("stored", ["views", "videos"])
def test_a_video_is_the_mean_of_its_views(tmp_path, stored):
    run = embedding_run(tmp_path / "run", [row("a", 0), row("b", 1)], stored=stored, clips=3)
    query = read_query(run, "b")
    assert (query.video.video_id, query.view) == ("b", None)
    mean = VECTORS[1].astype(np.float64).mean(axis=0).astype(np.float16)
    assert np.array_equal(query.vector, mean[None])


@pytest.mark.parametrize("name", ["birds/one.mp4", "/archive/birds/one.mp4"])
@pytest.mark.parametrize(
    ("time_s", "clip"), [("0", 0), ("0.99", 0), ("1.4", 1), ("1.6", 1), ("2.2", 2), ("3.4", 2)]
)
def test_a_time_picks_the_clip_that_covers_it_or_is_nearest(run, name, time_s, clip):
    query = read_query(run, f"{name}@{time_s}")
    assert query.video.video_id == "birds/one.mp4"
    assert query.view.clip == clip
    assert np.array_equal(query.vector, VECTORS[0][clip][None])


def test_a_relative_path_is_that_of_the_working_folder(run, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    run = embedding_run(tmp_path / "other", [row("x", 0, uri=str(here / "x.mp4"))], clips=3)
    monkeypatch.chdir(here)
    assert read_query(run, "x.mp4").video.video_id == "x"


def test_an_id_that_ends_like_a_time_is_an_id(run):
    assert read_query(run, "a@7").view is None
    assert read_query(run, "a@7@1").view.clip == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("birds/ane.mp4", r"has no video 'birds/ane.mp4'; did you mean birds/one.mp4"),
        ("TWO", r"has no video 'TWO'; did you mean birds/two.mp4\?"),
        ("qqqqqqqqqq", r"has no video 'qqqqqqqqqq'; it has "),
        ("nothing@3", r"has no video 'nothing'"),
        ("birds/two.mp4@soon", r"'soon' in .* is no number of seconds"),
        ("/archive/shard.tar", r"2 videos .* lie in /archive/shard.tar; name one by its id, such"),
        ("birds/one.mp4@3.6", r"birds/one.mp4 is 3.5 s long; 3.6 s lies outside"),
        ("birds/one.mp4@-1", r"birds/one.mp4 is 3.5 s long; -1 s lies outside"),
        ("broken", r"broken has no labels: it failed as"),
        ("zero", r"the embedding of zero is all zero or not finite"),
    ],
)
def test_what_is_wrong_is_named(run, text, said):
    with pytest.raises(UsageError, match=said):
        read_query(run, text)


def test_of_several_crops_the_middle_one_is_taken(tmp_path):
    made = row("a", 0)
    views = [
        view | {"clip": 0, "crop": crop, "start_s": 0.0, "end_s": 1.0}
        for crop, view in enumerate(made["views"])
    ]
    run = embedding_run(
        tmp_path / "run",
        [made | {"views": views}],
        identity={"protocol": {"name": "videomae-k400", "clips": 1, "crops": 3}},
    )
    view = read_query(run, "a@0.5").view
    assert dataclasses.astuple(view) == (0, 1, 0.0, 1.0)
