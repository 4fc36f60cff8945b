"""A run with two drivers: one of them is killed, and the same command labels the rest."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.processes import descendants, eventually, kill, wait_while_running
from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"
UNITS = 128


@pytest.fixture
def archive(tmp_path):
    """A list of four tiny videos under many ids."""
    videos = [write_video(tmp_path / f"{number}.mp4", frames=20) for number in range(4)]
    path = tmp_path / "list.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video_id", "uri"])
        rows.writerows([f"v{number}", videos[number % 4]] for number in range(UNITS))
    return path


def drivers(job):
    return [pid for pid, line in descendants(job).items() if line.startswith("ray::GraphDriver")]


def test_a_run_goes_on_after_one_of_its_drivers_was_killed(archive, random_checkpoint, tmp_path):
    output = tmp_path / "out"
    job = [JOBS / "label_k400.py", archive, output, "--checkpoint", random_checkpoint]
    command = [
        sys.executable,
        *map(str, job),
        *["--views", "1x1", "--drivers", "2", "--decoders", "2"],
    ]
    command += ["--labelers", "2"]

    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_while_running(first, lambda: any(output.glob("_checkpoint/*_000000.parquet")))
        found = drivers(first.pid)
        below = list(descendants(first.pid))
        assert len(found) == 2
        kill(found[0])
        _, said = first.communicate(timeout=600)
    finally:
        first.terminate()
    assert first.returncode == 1, said
    assert " of 2 ended: " in said
    assert said.endswith("Run the same command again to resume.\n")
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    assert not (output / "_SUCCESS").exists()

    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(output / "units", partitioning=None)
    assert sorted(rows["video_id"].to_pylist()) == sorted(f"v{each}" for each in range(UNITS))
    assert set(rows["status"].to_pylist()) == {"ok"}
    attempts = json.loads((output / "run.json").read_text())["attempts"]
    assert [each["drivers"] for each in attempts] == [2, 2]
    assert 0 < attempts[1]["units_before"] < UNITS
    checked = subprocess.run(
        [sys.executable, str(JOBS / "verify.py"), str(output)],
        capture_output=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
