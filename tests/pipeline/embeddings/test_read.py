"""Embeddings are read as arrays, batch by batch, in the order of clips/."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.errors import UsageError
from tests.embedding_runs import CHANNELS, embedding_run, with_vectors
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run, segment

VECTORS = np.random.default_rng(0).normal(size=(4, 2, CHANNELS)).astype(np.float16)


@pytest.fixture
def run(tmp_path):
    rows = [with_vectors(ok(name), VECTORS[number]) for number, name in enumerate("abcd")]
    return embedding_run(tmp_path / "run", [rows[0], failed("x")], rows[1:], stored="videos")


@pytest.mark.parametrize("batch_rows", [1, 3, 16_384])
def test_every_view_comes_once_whatever_the_batch(run, batch_rows):
    batches = list(pipeline.read_embeddings(run.root.uri, batch_rows=batch_rows))
    assert max(len(batch) for batch in batches) <= batch_rows
    assert [name for batch in batches for name in batch.video_ids] == list("aabbccdd")
    assert np.array_equal(
        np.concatenate([batch.vectors for batch in batches]), VECTORS.reshape(-1, CHANNELS)
    )
    assert np.concatenate([batch.clips for batch in batches]).tolist() == [0, 1] * 4
    assert np.concatenate([batch.start_s for batch in batches]).tolist() == [0.0, 1.0] * 4
    assert batches[0].vectors.dtype == np.float16


def test_only_the_videos_that_are_asked_for_are_read(run):
    batches = list(pipeline.read_embeddings(run.root, videos={"c", "a", "no such"}))
    assert [name for batch in batches for name in batch.video_ids] == list("aacc")


def test_the_mean_of_each_video_stands_in_videos(run):
    videos = pq.read_table(run.videos.uri).to_pylist()
    found = {row["video_id"]: row["embedding"] for row in videos}
    assert found.pop("x") is None
    for number, name in enumerate("abcd"):
        mean = VECTORS[number].astype(np.float64).mean(axis=0).astype(np.float16)
        assert np.array_equal(np.array(found[name], np.float16), mean)


def test_the_mean_of_a_recording_is_that_of_all_its_views(tmp_path):
    segments = [
        segment(with_vectors(ok("long"), VECTORS[number][: 1 + number]), number)
        for number in range(2)
    ]
    run = embedding_run(tmp_path, segments[:1], segments[1:], stored="videos", every_s=2.0)
    (video,) = pq.read_table(run.videos.uri).to_pylist()
    views = np.concatenate([VECTORS[0][:1], VECTORS[1][:2]]).astype(np.float64)
    assert np.array_equal(np.array(video["embedding"], np.float16), views.mean(0).astype("f2"))


def test_the_schema_says_what_made_them(run):
    for table in (run.clips, run.videos):
        (file,) = table.files(".parquet")
        said = json.loads(pq.read_schema(file.uri).metadata[b"embedding"])
        assert said["backbone"] == "sha256:b"
        assert said["channels"] == CHANNELS
        assert said["pruning"]["r"] == 1
        assert said["normalization"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
        assert said["license"] == "cc-by-4.0"


def test_duckdb_reads_them_as_floats(run):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(
        f"SELECT video_id, list_cosine_similarity(embedding, embedding) "
        f"FROM '{run.clips.uri}/*.parquet' ORDER BY video_id, clip"
    ).fetchall()
    assert [name for name, _ in rows] == list("aabbccdd")
    assert all(same == pytest.approx(1) for _, same in rows)


def test_a_run_without_embeddings_and_no_run_are_refused_before_anything_is_read(tmp_path):
    made_run(tmp_path / "plain", [ok("a")])
    with pytest.raises(UsageError, match="stores no embeddings; label with --embeddings"):
        pipeline.read_embeddings(tmp_path / "plain")
    with pytest.raises(UsageError, match="there is no run"):
        pipeline.read_embeddings(tmp_path / "none")


def test_an_unfinished_run_is_refused(run):
    run.clips.delete_parts()
    with pytest.raises(UsageError, match="is not finished"):
        pipeline.read_embeddings(run.root)


def test_batches_have_at_least_one_row(run):
    with pytest.raises(ValueError, match="batch_rows must be 1 or more; got 0"):
        pipeline.read_embeddings(run.root, batch_rows=0)
