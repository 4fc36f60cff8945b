"""Suggestions of made runs: who is left out, what heads change, and what the files hold."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.job_commands import job_command
from pipeline.search import candidates as module
from pipeline.search.candidates import read_candidates
from pipeline.search.suggest import SuggestSettings, suggest
from pipeline.search.suggest_page import _HEAD
from sta.heads import head_bytes
from tests.embedding_runs import CHANNELS, embedding_run, head_of, with_vectors
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run

COUNT = 30
VECTORS = np.random.default_rng(0).normal(size=(COUNT, 2, CHANNELS)).astype(np.float16)
NAMES = [f"v{number:02d}" for number in range(COUNT)]


def row(number):
    name, score = NAMES[number], 0.5 + number / 80
    made = with_vectors(ok(name), VECTORS[number])
    top = {"top_ids": [0, 1], "top_scores": [score, 1 - score], "score": score}
    return made | top | {"uri": f"/archive/{name}.mp4", "duration_s": 2.0}


@pytest.fixture
def run(tmp_path):
    rows = [row(number) for number in range(COUNT)]
    return embedding_run(tmp_path / "run", rows[:10], [*rows[10:], failed("x")])


def rows_of(folder):
    return pq.read_table(f"{folder}/suggest.parquet").to_pylist()


def labels(folder):
    with open(f"{folder}/labels.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_the_videos_in_one_order_with_their_reasons(run, tmp_path):
    said = suggest(SuggestSettings(run.root.uri, 8))
    folder = f"{run.root.uri}/suggest"
    rows = rows_of(folder)
    assert [each["rank"] for each in rows] == list(range(1, 9))
    assert rows[0]["video_id"] == "v00"
    assert (rows[0]["rule"], rows[0]["reason"]) == ("uncertain", "uncertain 0.00")
    ids = [each["video_id"] for each in rows]
    assert [each["video_id"] for each in labels(folder)] == ids
    assert {each["label"] for each in labels(folder)} == {""}
    assert labels(folder)[0]["uri"] == "/archive/v00.mp4"
    with open(f"{folder}/label_studio/tasks.json") as file:
        tasks = json.load(file)
    assert [task["data"]["video_id"] for task in tasks] == ids
    with open(f"{folder}/fiftyone/labels.json") as file:
        assert list(json.load(file)["labels"]) == [f"/archive/{each}.mp4" for each in ids]
    assert "8 videos to label of 30 without a label: 4 uncertain, 2 far" in said
    page = run.root.child("suggest/suggest.html").read_bytes().decode()
    for name in ("uncertain", "far", "cluster"):
        (legend,) = [line for line in said.splitlines() if line.startswith(f"{name}: ")]
        assert legend.partition(": ")[2] in page
    train = job_command("train_head", run.root.uri, f"{folder}/labels.csv", "-o", _HEAD)
    assert said.splitlines()[-1] == f"    {train}"


def test_no_folder_is_left_empty(run):
    suggest(SuggestSettings(run.root.uri, 8))
    folder = Path(run.root.uri) / "suggest"
    assert all(any(each.iterdir()) for each in folder.rglob("*") if each.is_dir())


def test_the_same_command_suggests_the_same_videos(run, tmp_path):
    for name in ("one", "two"):
        suggest(SuggestSettings(run.root.uri, 9, folder=str(tmp_path / name)))
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")


@pytest.mark.parametrize("column", ["video_id", "uri"])
def test_labeled_videos_are_left_out_and_empty_labels_are_none(run, tmp_path, column):
    names = {"video_id": NAMES, "uri": [f"/archive/{each}.mp4" for each in NAMES]}[column]
    lines = [f"{name},{'yes' if number < 25 else ' '}" for number, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join([f"{column},label", *lines]))
    said = suggest(SuggestSettings(run.root.uri, 20, labeled=str(tmp_path / "labels.csv")))
    assert sorted(e["video_id"] for e in rows_of(f"{run.root.uri}/suggest")) == NAMES[25:]
    assert "far from all labeled" in said


def test_a_head_says_what_is_uncertain(run, tmp_path):
    head = head_of(run)
    (tmp_path / "head.safetensors").write_bytes(head_bytes(head))
    suggest(SuggestSettings(run.root.uri, 6, head=str(tmp_path / "head.safetensors")))
    scores = np.stack([head.probabilities(each).mean(axis=0) for each in VECTORS])
    top = np.sort(scores, axis=1)[:, ::-1]
    margins = top[:, 0] - top[:, 1]
    first = rows_of(f"{run.root.uri}/suggest")[0]
    number = NAMES.index(first["video_id"])
    assert number == margins.argmin()
    assert first["margin"] == pytest.approx(margins[number], abs=1e-6)
    assert first["predicted"] == head.labels[scores[number].argmax()]
    with open(f"{run.root.uri}/suggest/label_studio/labeling_config.xml") as file:
        assert all(f'"{label}"' in file.read() or file.seek(0) == 0 for label in head.labels)


def test_of_a_large_run_the_least_certain_and_random_ones_are_looked_at(run, monkeypatch):
    monkeypatch.setattr(module, "POOL", 10)
    found = read_candidates(run, labeled=(), pool=10)
    assert (len(found.video_ids), found.available) == (10, COUNT)
    certain = [name for name in NAMES if name not in found.video_ids]
    assert set(NAMES[:3]) <= set(found.video_ids)
    assert len(certain) == 20


def test_labels_that_are_filled_in_are_not_overwritten(run):
    settings = SuggestSettings(run.root.uri, 3)
    suggest(settings)
    with pytest.raises(UsageError, match="there is already .*labels.csv, which may hold your lab"):
        suggest(settings)
    suggest(SuggestSettings(run.root.uri, 4, overwrite=True))
    assert len(rows_of(f"{run.root.uri}/suggest")) == 4


def test_what_is_wrong_is_named(run, tmp_path):
    with pytest.raises(UsageError, match="-n must be 1 to 10,000; got 0"):
        SuggestSettings("somewhere", 0)
    with pytest.raises(UsageError, match="stores no embeddings; label with --embeddings"):
        suggest(SuggestSettings(made_run(tmp_path / "other", [ok("a")]).root.uri))
    (tmp_path / "bad.csv").write_text("number,label\n1,a\n")
    with pytest.raises(UsageError, match="bad.csv"):
        suggest(SuggestSettings(run.root.uri, labeled=str(tmp_path / "bad.csv")))
    with pytest.raises(UsageError, match="none.csv"):
        suggest(SuggestSettings(run.root.uri, labeled=str(tmp_path / "none.csv")))
    (tmp_path / "all.csv").write_text("video_id,label\n" + "".join(f"{n},a\n" for n in NAMES))
    with pytest.raises(UsageError, match="no video of .* is left to label"):
        suggest(SuggestSettings(run.root.uri, labeled=str(tmp_path / "all.csv")))
