"""What a finished run proposes: commands that hold for this run, quoted, which other jobs take."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.inputs.demo.runs import PRUNED_RUN, UNPRUNED_RUN
from pipeline.labeling import job as label_job
from pipeline.labeling.flags import parser
from pipeline.labeling.next_steps import next_steps, open_command
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.synthetic_runs import Made, make_run, unit, write_run
from tests.run_records import run_record

ROOT = Path(__file__).parents[3]
CHECKPOINT = "MCG-NJU/videomae-base-finetuned-kinetics"
# Of all that a shell, a string of Python or an address might take for its own.
HARD = """it's "so" $HOME `b` \\n 100%"""
NAMES = ["plain", HARD, "Süd 上午", "-dash", ".hidden"]


def proposed(flags, folder, made, *, task="k400", video_id="a.mp4", early_exit=None, since=()):
    """The commands after a run of `made` by a command of these flags, by what they are for."""
    arguments = parser(task).parse_args(flags)
    identity = {"pruning": {"r": made.r}, "early_exit": early_exit, "since": list(since)}
    record = run_record({"identity": identity})
    other = label_job._other_run(task, arguments, record.identity)
    run = RunDirectory(Location.of(str(folder)))
    lines = next_steps(task, run, record, other, video_id)
    assert lines[:2] in ([], ["", "Next:"])
    lines = lines[2:]
    assert len(lines) % 2 == 0
    return {
        " ".join(about.split()[:2]): shlex.split(command)
        for about, command in zip(lines[::2], lines[1::2], strict=True)
    }


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch, tmp_path):
    """Paths are as a user sees them who works in a folder of their own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_run_proposes_the_unpruned_one_with_the_same_flags(name, tmp_path):
    flags = [f"--checkpoint={name}.pth", "--views", "2x3", "--r", "8", "--shadow-share", "1%"]
    flags += ["--score", "random", "--limit", "9", "--retry-failed", "--", "in", name]
    steps = proposed(flags, tmp_path / name, Made(r=8), video_id=f"{name}.mp4")
    assert list(steps) == ["Label the", "Compare the", "Show the"]
    python, job, *words = steps["Label the"]
    assert (python, job) == ("python", str(ROOT / "jobs/label_k400.py"))
    asked = parser("k400").parse_args(words)
    assert (asked.input, asked.output) == ("in", f"{name}-r-0")
    assert (asked.checkpoint, asked.views, asked.limit) == (f"{name}.pth", (2, 3), 9)
    assert (asked.r, asked.score, asked.shadow_share, asked.retry_failed) == (0, "sta", 0.0, False)
    assert [word for word in steps["Compare the"][2:] if word != "--"] == [name, f"{name}-r-0"]
    assert [word for word in steps["Show the"][2:] if word != "--"] == [name, f"{name}.mp4"]


def test_after_since_the_manifest_is_the_input_and_its_columns_have_our_names(tmp_path):
    flags = ["list.csv", "out", "--checkpoint", "c.pth", "--since", "earlier", "--fps", "25"]
    flags += ["--uri-column", "file", "--label-column", "what", "--video-root", "/videos"]
    steps = proposed(flags, tmp_path, Made(r=8), since=["earlier"])
    expected = [str(tmp_path / "out" / "manifest"), "out-r-0", "--checkpoint", "c.pth", "--r", "0"]
    assert sorted(steps["Label the"][2:]) == sorted(expected)


def test_an_unpruned_run_proposes_the_pruned_one_and_no_token_page(tmp_path):
    flags = ["s3://a/in", "/labels/out", "--checkpoint", "c.pth", "--r", "0"]
    steps = proposed(flags, tmp_path, Made(r=0))
    assert list(steps) == ["Label the", "Compare the"]
    expected = ["s3://a/in", "/labels/out-pruned", "--checkpoint", "c.pth"]
    assert steps["Label the"][2:] == expected


def test_the_proposed_run_proposes_a_comparison_with_the_first_run(tmp_path, monkeypatch):
    make_run(tmp_path / "out", Made(r=8), videos=2)
    flags = ["in", "out-r-0", "--checkpoint", "c.pth", "--r", "0"]
    steps = proposed(flags, tmp_path / "out-r-0", Made(r=0))
    assert list(steps) == ["Compare the"]
    assert steps["Compare the"][2:] == ["out-r-0", "out"]


def test_a_run_with_early_exit_is_compared_with_all_views_unpruned(tmp_path):
    flags = [
        "in",
        "out",
        "--checkpoint",
        "c.pth",
        "--early-exit",
        "p.json",
        "--budget-flops",
        "1e15",
    ]
    early_exit = {"threshold": 1.0, "max_views": None, "agreement": 0.99, "confidence": 0.95}
    steps = proposed(flags, tmp_path / "out", Made(r=8), early_exit=early_exit)
    assert steps["Label the"][2:] == ["in", "out-r-0", "--checkpoint", "c.pth", "--r", "0"]
    steps = proposed([*flags, "--r", "0"], tmp_path / "out", Made(r=0), early_exit=early_exit)
    assert steps["Label the"][2:] == ["in", "out-all-views", "--checkpoint", "c.pth", "--r", "0"]


def test_the_demo_proposes_commands_without_arguments():
    steps = proposed([], PRUNED_RUN, Made(r=22), video_id="test-0-00000")
    assert [words[1:] for words in steps.values()] == [
        [str(ROOT / "jobs/label_k400.py"), "--r", "0"],
        [str(ROOT / "jobs/cost_report.py")],
        [str(ROOT / "jobs/show_tokens.py"), PRUNED_RUN, "test-0-00000"],
        [str(ROOT / "jobs/label_k400.py"), "VIDEOS", "OUTPUT", "--checkpoint", CHECKPOINT],
    ]
    steps = proposed(["--r", "0"], UNPRUNED_RUN, Made(r=0))
    assert list(steps) == ["Label the", "Compare the", "Label your"]
    assert steps["Label the"][2:] == steps["Compare the"][2:] == []


def test_a_demo_run_of_other_settings_is_compared_with_the_same_settings():
    place = "demo/k400-released-r-default-views-1x1"
    steps = proposed(["--views", "1x1"], place, Made(r=22))
    assert steps["Label the"][2:] == ["--r", "0", "--views", "1x1"]
    assert steps["Compare the"][2:] == [place, "demo/k400-released-r-0-views-1x1"]


def test_where_nothing_was_labeled_nothing_is_proposed(tmp_path):
    assert proposed(["in", "out"], tmp_path / "out", Made(r=8), video_id=None) == {}


def test_secrets_of_an_address_are_not_repeated(tmp_path):
    address = "https://host/weights.safetensors?X-Amz-Signature=secret"
    steps = proposed(["in", "out", "--checkpoint", address], tmp_path / "out", Made(r=8))
    assert "secret" not in str(steps)
    assert "https://host/weights.safetensors" in steps["Label the"]


def test_a_submitted_job_proposes_to_submit(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    flags = ["s3://a/in", "/labels/out", "--checkpoint", "c.pth"]
    steps = proposed(flags, tmp_path / "out", Made(r=8))
    submit = ["ray", "job", "submit", "--working-dir", ".", "--", "python", "jobs/label_k400.py"]
    assert steps["Label the"][:8] == submit
    places = [str(tmp_path / "out"), "/labels/out-r-0"]
    assert steps["Compare the"] == ["python", "jobs/cost_report.py", *places]


def shown(command, cwd):
    """What bash prints for a command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False, cwd=cwd,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_table(lines, columns, ids):
    """All columns stand in each line of 80 characters, and the ends of the ids in theirs."""
    header, *rows = lines
    assert header.split() == list(columns)
    assert max(map(len, lines)) <= 80
    assert len(rows) == len(ids)
    for video_id in ids:
        assert any(row.split()[0] == video_id[-len(row.split()[0]) :] for row in rows)


COLUMNS = ("video_id", "label", "score", "status")


def long_run(folder):
    """A finished run of three videos with long ids and labels, of which one failed."""
    names = [f"camera-{'x' * 60}/{number:04d}.mp4" for number in range(3)]
    made = Made(r=8, failing=(names[1],))
    rows = [unit(name, made, second=1 + number) for number, name in enumerate(names)]
    for row in rows:
        row["ground_truth"] = "moving something and something so that they collide with each other"
        row["label"] = row["ground_truth"] if row["status"] == "ok" else None
    return RunDirectory(Location.of(write_run(folder, rows, made))), names


@pytest.mark.parametrize("more", [(), ("ground_truth",), ("ground_truth", "error_type")])
def test_the_command_that_reads_a_run_shows_all_columns(more, tmp_path):
    run, ids = long_run(tmp_path / "out")
    columns = (*COLUMNS, *more)
    check_table(shown(open_command(run, columns), tmp_path), columns, ids)


@pytest.mark.parametrize("name", [HARD, "-dash", ".hidden Süd 上午"])
def test_the_command_that_reads_a_run_takes_any_name(name, tmp_path):
    run, ids = long_run(tmp_path / name)
    check_table(shown(open_command(run, COLUMNS), tmp_path), COLUMNS, ids)


def test_the_command_reads_a_run_in_object_storage(s3, tmp_path):
    s3.create_bucket(Bucket="opened")
    _, ids = long_run(tmp_path / "run")
    for file in (tmp_path / "run" / "videos").iterdir():
        key = f"{HARD}/Süd 上午/videos/{file.name}"
        s3.put_object(Bucket="opened", Key=key, Body=file.read_bytes())
    run = RunDirectory(Location.of(f"s3://opened/{HARD}/Süd 上午"))
    check_table(shown(open_command(run, COLUMNS), tmp_path), COLUMNS, ids)
