"""A video whose decoder is killed whenever it is read cannot stop the job, nor for ever kill it."""

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.processes import eventually, killing, processes_reading, processes_with
from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"
GOOD = [f"good-{number}.mp4" for number in range(8)]
KILLER = "good-4-killer.avi"  # in the middle, by name and so by order


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Eight tiny videos, and one that takes long enough to be met while it is being read."""
    folder = tmp_path_factory.mktemp("archive").resolve()
    for name in GOOD:
        write_video(folder / name, frames=20)
    write_video(folder / KILLER, frames=1500, height=144, width=176, codec="mpeg4")
    return folder


@pytest.fixture
def temporary():
    """A temporary folder with a short name: Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield folder


def test_a_video_that_kills_its_decoder_each_time_is_one_row_and_the_job_goes_on(
    archive, random_checkpoint, temporary, tmp_path
):
    output = tmp_path / "out"
    job = [JOBS / "label_k400.py", archive, output, "--checkpoint", random_checkpoint]

    def readers():
        return processes_reading(archive / KILLER, command="workers.decoding.child")

    with killing(readers, itertools.repeat(0.01)) as killed:
        done = subprocess.run(
            [sys.executable, *map(str, job), "--views", "1x1"],
            capture_output=True, text=True, timeout=900, check=False,
            env={**os.environ, "TMPDIR": temporary},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(set(killed)) == 2, "one try and one more"
    rows = pq.read_table(output / "videos", partitioning=None).to_pylist()
    by_name = {row["video_id"]: row for row in rows}
    assert sorted(by_name) == sorted([*GOOD, KILLER])
    assert len(rows) == len(by_name)
    assert [by_name[name]["status"] for name in GOOD] == ["ok"] * len(GOOD)
    row = by_name[KILLER]
    assert (row["status"], row["error_type"], row["attempts"]) == ("failed", "crashed", 2)
    assert "SIGKILL" in row["error"]
    assert f"for example {KILLER}" in done.stdout
    checked = subprocess.run(
        [sys.executable, str(JOBS / "verify.py"), str(output)], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert eventually(lambda: processes_with("TMPDIR", temporary) == [])
