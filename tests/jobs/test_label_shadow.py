"""The shadow sample as users of the job see it, and what run.json says of cost."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.videos import write_video

pytestmark = pytest.mark.slow

JOB = Path(__file__).parents[2] / "jobs" / "label_k400.py"


def label(*arguments):
    command = [sys.executable, str(JOB), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, random_checkpoint):
    folder = tmp_path_factory.mktemp("shadow")
    (folder / "in").mkdir()
    for number in range(6):
        write_video(folder / "in" / f"{number}.mp4", frames=20 + 10 * number)
    (folder / "in" / "broken.mp4").write_text("no video")
    (folder / "prices.yaml").write_text("gpu_hour: 2.5\ncore_hour: 0.04\n")
    return [
        *(folder / "in", folder / "out", "--checkpoint", random_checkpoint),
        *("--shadow-share", "100%", "--min-agreement", "100%", "--prices", folder / "prices.yaml"),
    ]


@pytest.fixture(scope="module")
def run(arguments):
    """A model of random weights: pruning changes some of its labels."""
    return label(*arguments)


def test_the_summary_warns_loudly_where_pruning_changes_labels(run, arguments):
    assert run.returncode == 0, run.stderr
    units = pq.read_table(arguments[1] / "units", partitioning=None).to_pylist()
    good = [unit for unit in units if unit["status"] == "ok"]
    kept = sum(unit["label_id"] == unit["unpruned_label_id"] for unit in good)
    assert len(good) == 6
    assert kept < 6
    assert f"Shadow:    {100 * kept / 6:.1f} % (" in run.stdout
    assert "WARNING:   pruning may hurt on this data" in run.stdout


def test_the_sample_costs_what_the_unpruned_model_costs_and_is_counted_apart(run, arguments):
    content = json.loads((arguments[1] / "run.json").read_text())
    totals, model = content["totals"], content["model"]
    assert totals["unpruned_units"] == 6
    assert totals["unpruned_views"] == totals["clips"] == 6 * 15
    assert totals["flops"] == 90 * model["flops_per_view"]
    assert totals["unpruned_flops"] == 90 * model["flops_per_view_unpruned"]


def test_run_json_says_what_each_attempt_was_given_and_at_what_prices(run, arguments):
    content = json.loads((arguments[1] / "run.json").read_text())
    assert content["prices"]["gpu_hour"] == 2.5
    assert content["min_agreement"] == 1.0
    (attempt,) = content["attempts"]
    assert content["device"]["labelers"] == attempt["devices"]
    (device,) = attempt["devices"]
    assert device.startswith("cpu: ")
    assert device.endswith(f" of {content['device']['cpu']}")
    assert attempt["began"] <= content["created"] <= attempt["ended"]
    assert (attempt["nodes"], attempt["labeler_gpus"]) == (1, 0.0)
    assert attempt["cpus"] == content["device"]["cpus"] >= 1


def test_the_runs_report_shows_the_warning_and_the_cost(run, arguments):
    page = (arguments[1] / "report.html").read_text()
    report = json.loads((arguments[1] / "report.json").read_text())
    assert f"Report:    {arguments[1] / 'report.html'}" in run.stdout
    assert "Pruning may hurt on this data" in page
    assert (report["totals"]["videos"], report["shadow"]["is_below"]) == (7, True)


def test_a_finished_run_takes_other_prices_and_another_limit_for_its_report(run, arguments):
    other = arguments[1].parent / "other.yaml"
    other.write_text("gpu_hour: 5\ncore_hour: 0.08\n")
    again = label(*arguments[:6], "--min-agreement", "1%", "--prices", other)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr
    assert "WARNING" not in again.stdout
    content = json.loads((arguments[1] / "run.json").read_text())
    assert (content["prices"]["gpu_hour"], content["min_agreement"]) == (5, 0.01)
    report = json.loads((arguments[1] / "report.json").read_text())
    assert report["shadow"]["is_below"] is False


def test_another_sample_is_another_run(run, arguments):
    refused = label(*arguments[:4])
    assert refused.returncode == 2
    assert "shadow_share: 1.0 in the run, not set now" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shadow-share", "2"], "0 to 1"),
        (["--shadow-share", "some"], "a share is written 1% or 0.01"),
        (["--shadow-share", "1"], "as 1% or as 100%"),
        (["--min-agreement", "0.9"], "needs --shadow-share"),
        (["--shadow-share", "1%", "--r", "0"], "nothing is pruned"),
        (["--prices", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments, tmp_path, flags, said):
    refused = label(*arguments[:1], tmp_path / "out", *arguments[2:4], *flags)
    assert refused.returncode == 2
    assert said in refused.stderr.splitlines()[-1]
