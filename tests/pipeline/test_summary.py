"""The summary's paths."""

from pipeline.summary import _short


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
