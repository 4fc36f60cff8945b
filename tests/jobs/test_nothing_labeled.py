"""A run in which no video could be labeled ends with exit code 1 and the reasons, in every job."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.early_exit_files import write_early_exit
from tests.videos import write_video

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
HALF = ("--agreement", "50%")


def run(job, *arguments):
    command = [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def write_broken(folder):
    """A manifest of a text, an empty file and three files that are not there."""
    folder.mkdir()
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mp4").touch()
    names = ["text.mp4", "empty.mp4", "gone-1.mp4", "gone-2.mp4", "gone-3.mp4"]
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["uri", "label"])
        rows.writerows([name, "abc"[number % 3]] for number, name in enumerate(names))
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_broken(tmp_path_factory.mktemp("archive") / "in")


def reasons(done):
    """The line of the error, checked for what every job must say."""
    assert done.returncode == 1, done.stderr
    assert "Traceback (most recent call last)" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "3 not_found, for example gone-" in line
    assert "1 empty, for example empty.mp4: " in line
    assert "1 not_video, for example text.mp4: " in line
    assert line.index("not_found") < line.index("empty") < line.index("not_video")
    return line


def test_the_tables_are_built_and_the_same_command_says_the_same(
    archive, random_checkpoint, tmp_path
):
    output = tmp_path / "out"
    asked = (archive, output, "--checkpoint", random_checkpoint, "--views", "2x1")
    first = run("label_k400", *asked)
    assert reasons(first).startswith("error: no video could be labeled (5 failed): ")
    assert "Videos:    0 labeled" in first.stdout
    assert "the same command with --retry-failed" in first.stderr.splitlines()[-1]
    assert run("verify", output).returncode == 0
    again = run("label_k400", *asked)
    assert reasons(again) == reasons(first)
    assert again.stdout == first.stdout


@pytest.mark.drill
def test_retry_failed_labels_videos_that_were_repaired(random_checkpoint, tmp_path):
    archive = write_broken(tmp_path / "in")
    asked = (archive, tmp_path / "out", "--checkpoint", random_checkpoint, "--views", "2x1")
    assert run("label_k400", *asked).returncode == 1
    write_video(archive.parent / "gone-2.mp4", frames=20)
    repaired = run("label_k400", *asked, "--retry-failed")
    assert repaired.returncode == 0, repaired.stderr
    assert json.loads((tmp_path / "out" / "run.json").read_text())["totals"]["ok"] == 1


@pytest.mark.drill
def test_early_exit_and_a_shadow_sample_without_labels_divide_by_nothing(
    archive, random_checkpoint, tmp_path
):
    early_exit = write_early_exit(
        tmp_path / "p.json", 0.5, source=archive, checkpoint=random_checkpoint, r=22
    )
    flags = (
        "--r",
        "22",
        "--early-exit",
        early_exit,
        "--shadow-share",
        "50%",
        "--min-agreement",
        "90%",
    )
    done = run("label_k400", archive, tmp_path / "out", "--checkpoint", random_checkpoint, *flags)
    reasons(done)
    assert "could not be made" not in done.stderr


@pytest.mark.drill
@pytest.mark.parametrize(
    ("job", "target", "flags"),
    [
        ("label_ssv2", "out", ()),
        ("evaluate", "out", ("--quick", "--views", "1x1")),
        (
            "calibrate",
            "early-exit.json",
            (*HALF, "--sample", "5", "--views", "2x1", "--decode", "exact"),
        ),
    ],
)
def test_every_job_that_labels_ends_the_same_way(
    archive, random_checkpoint, tmp_path, job, target, flags
):
    reasons(run(job, archive, tmp_path / target, "--checkpoint", random_checkpoint, *flags))
    assert not (tmp_path / "early-exit.json").exists()


def test_a_plan_that_could_measure_nothing_ends_with_1(archive, random_checkpoint):
    reasons(run("plan", archive, "--checkpoint", random_checkpoint, "--seconds", "1"))
