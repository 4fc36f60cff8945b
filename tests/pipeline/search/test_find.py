"""Similar videos and duplicates of made runs, and what the files and the screen say of them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.search.duplicates import find_duplicates
from pipeline.search.find import Search, find
from pipeline.search.query import read_query
from pipeline.search.similar import find_similar
from tests.embedding_runs import CHANNELS, embedding_run, with_vectors
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run

DRAW = np.random.default_rng(0)
VECTORS = DRAW.normal(size=(9, 2, CHANNELS)).astype(np.float16)


def row(name, vectors):
    return with_vectors(ok(name), vectors) | {"uri": f"/archive/{name}.mp4", "duration_s": 2.0}


@pytest.fixture
def run(tmp_path):
    """Nine videos; "copy" has the views of "v0", and "near" nearly those of "v1"."""
    rows = [row(f"v{number}", vectors) for number, vectors in enumerate(VECTORS)]
    rows.insert(4, row("copy", VECTORS[0]))
    rows.append(row("near", (VECTORS[1] * np.float16(1.001) + np.float16(0.002))))
    return embedding_run(tmp_path / "run", rows[:3], [*rows[3:], failed("x")])


def unit(vectors):
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def test_a_whole_video_is_compared_with_the_means_of_the_others(run):
    found = find_similar(run, read_query(run, "v0"), 4)
    means = unit(VECTORS.astype(np.float64).mean(axis=1).astype(np.float16))
    cosines = means[1:] @ means[0]
    expected = sorted(cosines, reverse=True)[:3]
    assert found.found[0].video.video_id == "copy"
    assert [each.cosine for each in found.found] == pytest.approx([1.0, *expected], abs=2e-3)
    assert (found.searched, found.found[0].view) == (10, None)


def test_a_moment_is_compared_with_all_views_and_each_video_counts_once(run):
    found = find_similar(run, read_query(run, "v1@1.5"), 20)
    assert len({each.video.video_id for each in found.found}) == len(found.found) == 10
    assert found.searched == 20
    best = found.found[0]
    assert (best.video.video_id, best.view.clip, best.view.start_s) == ("near", 1, 1.0)
    of_v2 = next(each for each in found.found if each.video.video_id == "v2")
    cosines = unit(VECTORS[2]) @ unit(VECTORS[1][1])
    assert of_v2.view.clip == cosines.argmax()
    assert of_v2.cosine == pytest.approx(cosines.max())


def test_where_no_view_was_made_the_nearest_one_is_told(tmp_path):
    rows = [row(f"v{number}", vectors) for number, vectors in enumerate(VECTORS)]
    for each in rows:
        each["duration_s"] = 9.0
    run = embedding_run(tmp_path / "run", rows)
    ends = {view.end_s for view in (read_query(run, "v1@0").view, read_query(run, "v1@9").view)}
    last = max(ends)
    for time_s, is_told in ((last, False), (last + 0.01, False), (last + 1.5, True)):
        json_file = tmp_path / f"{time_s}.json"
        said = find(Search(run.root.uri, like=f"v1@{time_s}", k=3, json=str(json_file)))
        page = run.root.child(f"find/like-v1-at-{last - 1:.2f}s.html").read_bytes().decode()
        told = f"No view was made at {time_s:.10g} s; this one is the nearest to it."
        assert (told in said, told in page) == (is_told, is_told)
        assert json.loads(json_file.read_text())["time_s"] == time_s


def test_duplicates_are_groups_of_videos_with_near_means(run):
    found = find_duplicates(run, 0.999)
    groups = [[each.video.video_id for each in group] for group in found.groups]
    assert sorted(groups) == [["v0", "copy"], ["v1", "near"]]
    assert (found.searched, found.members, found.complete, found.recall) == (11, 4, True, None)
    assert found.groups[groups.index(["v0", "copy"])][0].cosine == 1.0


def test_the_screen_of_duplicates_says_what_its_cosine_is(run):
    said = find(Search(run.root.uri, duplicates=0.999))
    assert "cosine: the largest between two videos of the group, each the mean of its" in said


def test_the_number_of_pairs_is_bounded_and_the_page_says_so(run, monkeypatch):
    monkeypatch.setattr("pipeline.search.find.find_duplicates", _one_pair)
    said = find(Search(run.root.uri, duplicates=0.01))
    assert "The search ended at 2 pairs: there are more groups" in said
    page = run.root.child("find/duplicates.html").read_bytes().decode()
    assert "The search ended at 2 pairs" in page


def _one_pair(run, threshold, *, exact):
    return find_duplicates(run, threshold, exact=exact, most_pairs=1)


def test_a_threshold_that_random_pairs_reach_is_warned_of(run):
    assert "of random pairs of videos are as similar" in find(
        Search(run.root.uri, duplicates=0.001)
    )


def test_files_hold_what_was_found(run, tmp_path):
    said = find(Search(run.root.uri, like="v1@1.5", k=3, json=str(tmp_path / "found.json")))
    table = pq.read_table(f"{run.root.uri}/find/like-v1-at-1.00s.parquet")
    rows = table.to_pylist()
    assert [each["rank"] for each in rows] == [1, 2, 3]
    assert rows[0]["video_id"] == "near"
    assert rows[0]["uri"] == "/archive/near.mp4"
    assert (rows[0]["clip"], rows[0]["start_s"]) == (1, 1.0)
    assert json.loads(table.schema.metadata[b"like"]) == "v1"
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["rows"] == json.loads(json.dumps(rows))
    assert "near" in said.split("label")[1].splitlines()[1]
    assert "like-v1-at-1.00s.html" in said


def test_files_of_duplicates_name_each_group(run, tmp_path):
    find(Search(run.root.uri, duplicates=0.999, folder=str(tmp_path / "there")))
    rows = pq.read_table(tmp_path / "there/duplicates.parquet").to_pylist()
    assert sorted((each["group"], each["video_id"]) for each in rows) == [
        (1, "copy"),
        (1, "v0"),
        (2, "near"),
        (2, "v1"),
    ]
    assert not run.root.child("find").exists()


def test_a_page_of_videos_that_are_gone_says_why_there_are_no_pictures(run):
    find(Search(run.root.uri, like="v0", k=3))
    page = run.root.child("find/like-v0.html").read_bytes().decode()
    assert page.count("No picture: ") == 4
    assert "can no longer be read" in page


def test_only_so_many_videos_are_decoded(run):
    find(Search(run.root.uri, like="v0", k=3, thumbnails=0))
    page = run.root.child("find/like-v0.html").read_bytes().decode()
    assert page.count("only the first 0 videos have one") == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "name what to find: --like VIDEO or VIDEO@SECONDS, or --duplicates COSINE"),
        ({"like": "a", "duplicates": 0.9}, "name what to find"),
        ({"like": "a", "k": 0}, "-k must be 1 to 10,000; got 0"),
        ({"duplicates": 98}, "--duplicates must be a cosine above 0 and at most 1, such as 0.98"),
        ({"duplicates": float("nan")}, "such as 0.98; got nan"),
        ({"like": "a", "exact": True}, "--exact is for --duplicates"),
        ({"duplicates": 0.9, "index": "x"}, "--index is for --like"),
        ({"like": "a", "thumbnails": -1}, "--thumbnails must be 0 or more; got -1"),
    ],
)
def test_what_is_wrong_is_named(changes, said):
    with pytest.raises(UsageError, match=said):
        Search("somewhere", **changes)


def test_a_run_without_embeddings_is_refused_by_name(tmp_path):
    run = made_run(tmp_path / "run", [ok("a")])
    with pytest.raises(UsageError, match="stores no embeddings; label with --embeddings"):
        find(Search(run.root.uri, like="a"))


def test_a_video_alone_is_like_nothing_and_no_duplicate(tmp_path):
    run = embedding_run(tmp_path / "run", [row("a", VECTORS[0])])
    find(Search(run.root.uri, like="a"))
    assert "There is no other video." in run.root.child("find/like-a.html").read_bytes().decode()
    assert "0 groups of near-duplicates" in find(Search(run.root.uri, duplicates=0.9))
