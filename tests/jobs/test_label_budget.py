"""A run within a budget as users of the job see it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.early_exit import EarlyExitFile, OperatingPoint
from pipeline.labeling import job as label_job
from pipeline.labeling.flags import parser
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.verify.verify import verify
from tests.early_exit_files import write_early_exit
from tests.run_records import run_record
from tests.videos import write_video

pytestmark = pytest.mark.slow

JOB = Path(__file__).parents[2] / "jobs" / "label_k400.py"
VIDEOS = 128
CURVE = tuple(
    OperatingPoint(threshold, 0.9, 0.9, views, 2.0) for threshold, views in ((0.9, 6.0), (0.0, 1.0))
)


def label(*arguments):
    command = [sys.executable, str(JOB), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, random_checkpoint):
    folder = tmp_path_factory.mktemp("budget")
    (folder / "in").mkdir()
    for number in range(4):
        write_video(folder / "in" / f"{number}.mp4", frames=20 + 10 * number)
    for number in range(4, VIDEOS):
        os.link(folder / "in" / f"{number % 4}.mp4", folder / "in" / f"{number}.mp4")
    early_exit = write_early_exit(
        folder / "early-exit.json", 0.9, source=folder / "in", checkpoint=random_checkpoint
    )
    place = Location.of(str(early_exit))
    dataclasses.replace(EarlyExitFile.read(place), curve=CURVE).write(place)
    return folder


@pytest.fixture(scope="module")
def flops_per_view(folder, random_checkpoint):
    """Of the checkpoint as the job prunes it, from a refusal that names it."""
    run = label(
        folder / "in", folder / "none", *early_exit(folder, random_checkpoint), "--budget-flops", 1
    )
    assert run.returncode == 2, run.stderr
    assert f"a single view of each of the {VIDEOS} videos takes" in run.stderr
    return json.loads((folder / "none" / "run.json").read_text())["model"]["flops_per_view"]


def early_exit(folder, checkpoint):
    return ["--checkpoint", checkpoint, "--early-exit", folder / "early-exit.json"]


@pytest.fixture(scope="module")
def run(folder, random_checkpoint, flops_per_view):
    budget = 2 * VIDEOS * flops_per_view
    arguments = [*early_exit(folder, random_checkpoint), "--budget-flops", budget]
    finished = label(folder / "in", folder / "out", *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished, json.loads((folder / "out" / "run.json").read_text()), arguments


def test_the_budget_is_kept_and_the_summary_says_what_was_spent(run, folder):
    finished, content, _ = run
    budget = content["budget"]
    assert content["totals"]["flops"] <= budget["flops"]
    assert sum(each["units"] for each in budget["slices"]) == VIDEOS
    assert len(budget["slices"]) == 2
    assert "Budget:    " in finished.stdout
    assert "of the labels of all views" in finished.stdout
    units = pq.read_table(folder / "out" / "units", partitioning=None)
    assert sum(units["flops"].to_pylist()) == content["totals"]["flops"]


def test_each_slice_was_evaluated_as_was_decided_for_it(run, folder):
    place = RunDirectory(Location.of(str(folder / "out")))
    assert [check.problem for check in verify(place) if check.problem] == []
    content = place.load().to_json()
    for each in content["budget"]["slices"]:
        each["threshold"], each["max_views"] = 2.0, None
    place.save(run_record(content))
    problems = [check.problem for check in verify(place) if check.problem]
    place.save(run_record(run[1]))
    assert any("do not stop" in problem for problem in problems)


@pytest.mark.drill
def test_a_second_run_gives_the_same_rows(run, folder):
    _, content, arguments = run
    again = label(folder / "in", folder / "again", *arguments)
    assert again.returncode == 0, again.stderr
    one, other = (
        pq.read_table(folder / name / "units", partitioning=None)
        .select(["unit_id", "label", "scores", "margins", "flops"])
        .sort_by("unit_id")
        for name in ("out", "again")
    )
    assert one.equals(other)
    slices = json.loads((folder / "again" / "run.json").read_text())["budget"]["slices"]
    assert slices == content["budget"]["slices"]


def test_a_budget_without_early_exit_is_refused(folder, random_checkpoint):
    run = label(
        folder / "in", folder / "x", "--checkpoint", random_checkpoint, "--budget-flops", "1e18"
    )
    assert run.returncode == 2
    assert "need --early-exit" in run.stderr


def test_a_budget_of_money_needs_prices(folder, random_checkpoint):
    run = label(
        folder / "in", folder / "x", *early_exit(folder, random_checkpoint), "--budget-cost", 9
    )
    assert run.returncode == 2
    assert "--budget-cost needs --prices" in run.stderr


def test_demo_runs_with_budgets_have_their_own_folders():
    def place(*flags):
        arguments = parser("k400").parse_args(["--early-exit", "p.json", *flags])
        return label_job._demo_output("k400", arguments)

    asked = [(), ("--budget-flops", "1e12"), ("--budget-flops", "2e12"), ("--budget-cost", "2e12")]
    assert len({place(*flags) for flags in asked}) == len(asked)
