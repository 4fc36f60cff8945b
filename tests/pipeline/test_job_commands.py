"""Commands that screens propose: they run from where the user is, in one form in all jobs."""

import ast
import shlex
import subprocess
from pathlib import Path

import pytest

import pipeline
from pipeline.job_commands import (
    arguments,
    flag_words,
    job_command,
    job_words,
    next_lines,
    short_path,
)

PIPELINE = Path(pipeline.__file__).parent
ROOT = PIPELINE.parent


def test_a_path_is_shown_from_where_the_job_runs_if_it_lies_below(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert short_path(str(tmp_path.parent / "labels")) == str(tmp_path.parent / "labels")
    assert short_path(str(tmp_path / "labels")) == "labels"
    assert short_path("s3://bucket/labels") == "s3://bucket/labels"


def test_the_summary_is_printed_if_the_working_directory_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "unpacked"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert short_path("/labels/2026-11-25") == "/labels/2026-11-25"


@pytest.mark.parametrize("below", [True, False])
def test_the_file_of_a_job_is_found_from_where_the_user_is(below, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT if below else tmp_path)
    python, file = job_words("find")
    assert python == "python"
    assert file == ("jobs/find.py" if below else str(ROOT / "jobs" / "find.py"))
    assert Path(file).exists()


def test_a_submitted_job_names_the_repository_s_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert job_words("find") == ["python", "jobs/find.py"]


def test_words_reach_the_job_as_they_are():
    hard = ["it's", "$HOME `b` \\n", "a\nb", "Süd 上午", "*"]
    command = job_command("find", *hard)
    assert "\n" not in command
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split("\0")[2:-1] == hard


def test_a_value_that_looks_like_a_flag_is_joined_to_its_own():
    assert flag_words("--head", "-x.safetensors") == ["--head=-x.safetensors"]
    assert flag_words("--head", "x") == ["--head", "x"]


def test_places_stand_before_flags_unless_one_looks_like_a_flag():
    assert arguments("in", "out", flags=["-k", "3"]) == ["in", "out", "-k", "3"]
    assert arguments("in", "-out", flags=["-k", "3"]) == ["-k", "3", "--", "in", "-out"]


def test_steps_stand_under_next_each_with_its_command():
    assert next_lines({}) == []
    lines = next_lines({"Look:": ["python", "jobs/find.py", "a b"]})
    assert lines == ["", "Next:", "  Look:", "    python jobs/find.py 'a b'"]
    assert shlex.split(lines[-1])[-1] == "a b"


def test_no_other_file_writes_the_command_of_a_job():
    """Texts with values in them, other than help, get their commands from `job_commands`."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in PIPELINE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr)
        and any("python jobs/" in str(getattr(part, "value", "")) for part in node.values)
    ]
    assert found == []
