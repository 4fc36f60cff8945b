"""A cluster of two CPUs finishes its job, and nothing that comes after the last row costs it."""

import json
import subprocess
import sys

import pytest

from tests.heads import ray_head
from tests.videos import write_video

pytestmark = pytest.mark.slow

VIDEOS = 8

# A graph of any length is judged, so that a short job reaches what jobs of minutes reach.
JUDGED = "import pipeline.execution.bottleneck; pipeline.execution.bottleneck._SHORT_S = 0.0"

# What is for people alone, all of it broken.
BROKEN = """
import pipeline.execution.autosize, pipeline.execution.bottleneck, pipeline.execution.metrics
import pipeline.execution.progress, pipeline.labeling.attempt, pipeline.labeling.conclusion
import pipeline.labeling.job, pipeline.reports.run

def broken(*args, **settings):
    raise ZeroDivisionError("float division by zero")

pipeline.labeling.attempt.bottleneck = pipeline.labeling.conclusion.discard_sample = broken
pipeline.labeling.job.summary = pipeline.reports.run.write_run_report = broken
pipeline.execution.progress.ProgressLine.parts = pipeline.execution.progress.RunGauges.set = broken
pipeline.execution.progress.Reporter.stages = broken
"""
LOST = {
    "The last progress line",
    "The account of the stages",
    "Tidying up",
    "The report",
    "The summary",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ray_head(tmp_path_factory.mktemp("head") / "ray.log", "--num-cpus=2") as head:
        yield head


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", frames=20)
    return folder


def label(cluster, setup, *arguments):
    program = (
        f"{setup}\nfrom pipeline.labeling.command import main\nimport sys\nsys.exit(main('k400'))"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=cluster.environment
    )


def test_a_job_on_two_cpus_ends_with_tables_and_names_its_bottleneck(
    cluster, archive, random_checkpoint, tmp_path
):
    flags = ("--checkpoint", random_checkpoint, "--views", "2x1")
    done = label(cluster, JUDGED, archive, tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["totals"]["ok"] == VIDEOS
    assert run["totals"]["stages"]["bottleneck"]
    said = " ".join(done.stdout.split())
    assert f"Bottleneck: {run['totals']['stages']['bottleneck']}" in said
    assert (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.drill
def test_whatever_fails_after_the_last_row_costs_neither_tables_nor_success(
    cluster, archive, random_checkpoint, tmp_path
):
    flags = ("--checkpoint", random_checkpoint, "--views", "2x1")
    done = label(cluster, BROKEN, archive, tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    assert "Traceback (most recent call last)" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "could not be made" in line]
    assert {line.partition(" could not")[0] for line in said} >= LOST
    assert all("ZeroDivisionError: float division by zero. " in line for line in said)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["totals"]["ok"] == VIDEOS
    assert run["totals"]["stages"] is None
    for name in ("_SUCCESS", "videos", "clips"):
        assert (tmp_path / "out" / name).exists()

    again = label(cluster, "", archive, tmp_path / "out", *flags)
    assert again.returncode == 0, again.stderr
    assert f"Videos:    {VIDEOS} labeled" in again.stdout
