"""The end of a run: whatever its report fails on, the labels are complete."""

import json

import pytest

import pipeline.reports.run
from pipeline.errors import UsageError
from pipeline.execution.metrics import GAUGES
from pipeline.labeling import run_report
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.report_flags import ReportFlags
from pipeline.labeling.run import finished
from pipeline.labeling.run_report import draw_report, drift_gauges
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.run.test_tables import ok
from tests.report_runs import made_run


def test_a_report_that_cannot_be_written_loses_no_labels(tmp_path, monkeypatch, capsys):
    def fail(run, **settings):
        raise RuntimeError("no ink")

    monkeypatch.setattr(pipeline.reports.run, "write_run_report", fail)
    draw_report(RunDirectory(Location.of(str(tmp_path))), 3)
    said = capsys.readouterr().err
    assert "The report could not be made: RuntimeError: no ink. The labels are complete" in said
    assert f"jobs/report.py {tmp_path}" in said


def test_a_signal_while_the_report_is_written_is_not_a_failure(tmp_path, monkeypatch):
    def kill(run, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.reports.run, "write_run_report", kill)
    with pytest.raises(KeyboardInterrupt):
        draw_report(RunDirectory(Location.of(str(tmp_path))), 3)


def test_a_finished_run_is_compared_where_the_command_names_another_reference(
    tmp_path, monkeypatch
):
    told = {}
    monkeypatch.setattr(run_report, "set_drift", lambda run, values: told.update(values))
    for name, label in {"today": "a", "old": "b"}.items():
        made = made_run(tmp_path / name, [ok(f"v{number}", label=label) for number in range(40)])
        made.success.write_bytes(b"")
    today = RunDirectory(Location.of(str(tmp_path / "today")))
    plain = LabelOptions("k400", "videos", "today", "demo", gallery=0)
    assert finished(today, plain).compare_to is None
    assert not today.root.child("report.json").exists()
    reports = ReportFlags(compare_to=str(tmp_path / "old"))
    asked = LabelOptions("k400", "videos", "today", "demo", gallery=0, reports=reports)
    assert finished(today, asked).compare_to == str(tmp_path / "old")
    assert today.load().compare_to == str(tmp_path / "old")
    drift = json.loads(today.root.child("report.json").read_bytes())["drift"]
    assert drift["labels"]["changed"] == 2
    assert told == drift_gauges(drift)
    assert told["drift_labels_moved_low"] > 0.5
    assert told["drift_classes_changed"] == 2
    assert told.keys() == {name for name in GAUGES if name.startswith("drift_")}


def test_a_reference_that_is_gone_sets_no_gauge_and_costs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        run_report, "set_drift", lambda run, values: None if not any(values.values()) else 1 / 0
    )
    run = made_run(tmp_path / "today", [ok("a")], compare_to=str(tmp_path / "gone"))
    draw_report(run, 0)
    assert capsys.readouterr().err == ""
    assert "there is no run in" in run.root.child("report.html").read_bytes().decode()


def test_a_reference_in_a_store_that_is_not_known_is_refused_before_any_work():
    with pytest.raises(UsageError, match="ftp://"):
        ReportFlags(compare_to="ftp://host/run")
    with pytest.raises(UsageError, match="--compare-to needs the OUTPUT"):
        ReportFlags(compare_to="")
