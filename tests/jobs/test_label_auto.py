"""--decoders auto and the bottleneck line, as the users of the job see them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"
UNITS = 200


def job(name, *arguments):
    command = [sys.executable, str(JOBS / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Many units of few files: a run must be long enough to be measured first."""
    folder = tmp_path_factory.mktemp("archive")
    files = [write_video(folder / f"{n}.mp4", frames=20 + n) for n in range(4)]
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video_id", "uri"])
        rows.writerows([f"v{number}", files[number % 4]] for number in range(UNITS))
    return path


def labels_said(summary):
    """The lines of a summary that name videos with their labels."""
    return summary[summary.index("Labels:") : summary.index("Output:")]


def label(archive, output, checkpoint, *more):
    return job("label_k400", archive, output, "--checkpoint", checkpoint, "--views", "2x1", *more)


def test_auto_measures_a_sample_once_and_a_resumed_run_goes_by_what_was_measured(
    archive, random_checkpoint, tmp_path
):
    output = tmp_path / "out"
    done = label(archive, output, random_checkpoint, "--decoders", "auto")
    assert done.returncode == 0, done.stderr
    assert "--decoders auto: measuring 24 of 200 videos." in done.stderr
    assert " of a decoder x 1.15 = " in done.stderr
    assert not (output / "_sample").exists()
    ids = pq.read_table(output / "units", partitioning=None)["unit_id"].to_pylist()
    assert len(ids) == len(set(ids)) == UNITS
    assert job("verify", output).returncode == 0

    run = json.loads((output / "run.json").read_text())
    stages = run["totals"]["stages"]
    # The sample came before, and is no part of the account of the rest.
    assert stages["decode"]["units"] == stages["label"]["units"] == UNITS - 24
    assert f"Bottleneck: {stages['bottleneck']}" in " ".join(done.stdout.split())

    (output / "_SUCCESS").unlink()
    next(iter(output.glob("units/*.parquet"))).unlink()
    again = label(archive, output, random_checkpoint, "--decoders", "auto")
    assert again.returncode == 0, again.stderr
    assert "measuring" not in again.stderr
    assert " of a decoder x 1.15 = " in again.stderr
    assert job("verify", output).returncode == 0


def test_auto_leaves_a_short_run_alone_and_the_same_command_repairs_damaged_tables(
    archive, random_checkpoint, tmp_path
):
    output = tmp_path / "out"
    first = label(archive, output, random_checkpoint, "--limit", "4", "--decoders", "auto")
    assert first.returncode == 0, first.stderr
    assert "4 videos are too few to measure 24 of them first" in first.stderr
    next(iter(output.glob("videos/*.parquet"))).write_bytes(b"no table")
    broken = label(archive, output, random_checkpoint, "--limit", "4")
    assert broken.returncode == 1
    assert "its tables cannot be read" in broken.stderr
    assert f"Delete {output}/_SUCCESS" in broken.stderr
    assert "Traceback (most recent call last)" not in broken.stderr
    (output / "_SUCCESS").unlink()
    repaired = label(archive, output, random_checkpoint, "--limit", "4")
    assert repaired.returncode == 0, repaired.stderr
    assert "Resumed:   4 of 4 videos were already done; none was left" in repaired.stdout
    assert labels_said(repaired.stdout) == labels_said(first.stdout)
    assert len(pq.read_table(output / "videos")) == 4
