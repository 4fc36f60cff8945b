"""The report's command: what it writes, and what it says where it cannot."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.report import main
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run

JOB = Path(__file__).parents[2] / "jobs" / "report.py"


def report(*arguments):
    command = [sys.executable, str(JOB), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture
def run(tmp_path):
    made = made_run(tmp_path / "run", [ok("a"), failed("b")])
    made.success.write_bytes(b"")
    return Path(made.root.uri)


def test_a_report_is_written_anew_into_the_run_and_named(run):
    (run / "report.json").write_text("old")
    done = report(run, "--gallery", 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(run / "report.html"), str(run / "report.json")]
    assert json.loads((run / "report.json").read_text())["totals"]["ok"] == 1


def test_a_report_goes_where_it_is_asked_to(run, tmp_path):
    done = report(run, "--gallery", 0, "--out", tmp_path / "new" / "folder")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "folder" / "report.html").exists()
    assert not (run / "report.html").exists()


def test_a_wrong_command_is_told_in_one_line(run, tmp_path, capsys):
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    (unfinished / "_SUCCESS").unlink()
    without_tables = shutil.copytree(run, tmp_path / "without_tables")
    shutil.rmtree(without_tables / "videos")
    for arguments, said in [
        ([tmp_path], "there is no run in"),
        ([unfinished], "is not finished; run its labeling command again to finish it"),
        ([without_tables], "has no tables yet; run its labeling command again to finish it"),
        ([run, "--gallery", -1], "0 videos or more; got -1"),
        (["ftp://x/y"], "ftp:// addresses cannot be read"),
    ]:
        assert main([*map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert said in error
        assert error.count("\n") == 1


def test_drift_is_compared_where_an_earlier_run_is_named(run, tmp_path, capsys):
    old = made_run(tmp_path / "old", [ok(f"v{number}", label="b") for number in range(9)])
    old.success.write_bytes(b"")
    for reference, problem in [(old.root.uri, None), (tmp_path / "gone", "there is no run in")]:
        assert main([str(run), "--gallery", "0", "--compare-to", str(reference)]) == 0
        told = capsys.readouterr()
        assert "Drift:     " in told.err
        drift = json.loads((run / "report.json").read_text())["drift"]
        assert drift["problem"] is None if problem is None else problem in drift["problem"]
        assert "Drift" not in told.out


def test_a_damaged_table_is_named(run):
    file = next((run / "videos").iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    done = report(run, "--gallery", 0)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback (most recent call last)" not in done.stderr
