"""The summary's paths, and what it says of accuracy."""

import pytest

from pipeline.summary import _accuracy, _short


def test_a_path_is_shown_from_where_the_job_runs_if_it_lies_below(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _short(str(tmp_path.parent / "labels")) == str(tmp_path.parent / "labels")
    assert _short(str(tmp_path / "labels")) == "labels"
    assert _short("s3://bucket/labels") == "s3://bucket/labels"


def test_a_finished_run_is_told_of_when_the_folder_that_the_job_ran_in_is_gone(
    tmp_path, monkeypatch
):
    gone = tmp_path / "unpacked"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert _short("/labels/2026-11-25") == "/labels/2026-11-25"


@pytest.mark.parametrize(
    ("judged", "right", "unknown", "said"),
    [
        (0, 0, 0, []),
        (8, 6, 0, ["Right:     75.0 % of 8 videos with a true label"]),
        (
            6,
            6,
            2,
            [
                "Right:     100.0 % of 6 videos with a true label; 2 of 8 labels are not among the "
                "model's classes, such as 'yak'"
            ],
        ),
        (0, 0, 8, ["Right:     none of the 8 labels is one of the model's classes, such as 'yak'"]),
    ],
)
def test_accuracy_is_told_of_labels_that_the_model_has_and_of_no_others(
    judged, right, unknown, said
):
    totals = {"judged": judged, "right": right, "unknown_truths": unknown}
    assert _accuracy(totals | {"unknown_examples": ["yak"]}) == said
