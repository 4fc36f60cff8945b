"""A set holds as many of the videos with a label as was asked for."""

import json

import pyarrow.parquet as pq

from tests.pipeline.questions.made_archive import made_archive
from tests.pipeline.questions.sets import selected
from tests.pipeline.questions.test_inquiry import asked


def test_the_videos_with_a_label_are_held_by_a_set_with_the_wanted_recall(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, agreement=0.97)
    found = selected(asked(tmp_path, "videos with common"), recall=0.9)
    chosen = pq.read_table(tmp_path / "selected").to_pydict()
    common = {n for n, k in zip(archive.names, archive.labels, strict=True) if k == 1}
    assert len(common & set(chosen["video_id"])) >= 0.9 * len(common)
    assert found.chosen == len(chosen["video_id"]) < 0.6 * 4000
    told = " ".join(found.text.split())
    assert "with 95 % confidence" in told
    assert "unpruned, 5x" in told
    assert "a model's opinion is not the truth" in told
    assert json.loads(json.dumps(found.to_json()))["question"] == "videos with common"


def test_a_set_from_too_few_references_is_the_whole_input_and_says_so(tmp_path, monkeypatch):
    made_archive(monkeypatch, shares=(0.002, 0.3, 0.698))
    found = selected(asked(tmp_path, "videos with rare"), recall=0.95, most=250)
    assert found.chosen == found.units == 4000
    assert "a larger --max-reference may" in " ".join(found.text.split())


def test_the_set_of_an_archive_that_is_labeled_in_full_is_the_videos_with_the_label(
    tmp_path, monkeypatch
):
    archive = made_archive(monkeypatch, units=100)
    found = selected(asked(tmp_path, "videos with common"), recall=0.9)
    chosen = set(pq.read_table(tmp_path / "selected")["video_id"].to_pylist())
    assert chosen == {n for n, k in zip(archive.names, archive.labels, strict=True) if k == 1}
    assert found.found.recall_low == 1.0
    assert "Note:" not in found.text
