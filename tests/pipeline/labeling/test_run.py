"""The end of a run: whatever its report fails on, the labels are complete."""

import pytest

import pipeline.reports.run
from pipeline.labeling.run import _report
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location


def test_a_report_that_cannot_be_written_loses_no_labels(tmp_path, monkeypatch, capsys):
    def fail(run, **settings):
        raise RuntimeError("no ink")

    monkeypatch.setattr(pipeline.reports.run, "write_run_report", fail)
    _report(RunDirectory(Location.of(str(tmp_path))), 3)
    said = capsys.readouterr().err
    assert "The report could not be made: RuntimeError: no ink. The labels are complete" in said
    assert f"jobs/report.py {tmp_path}" in said


def test_a_signal_while_the_report_is_written_is_not_a_failure(tmp_path, monkeypatch):
    def kill(run, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.reports.run, "write_run_report", kill)
    with pytest.raises(KeyboardInterrupt):
        _report(RunDirectory(Location.of(str(tmp_path))), 3)
