"""The labeling job over the folder of hostile files: one row each, and nothing left behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.inputs.video_names import VIDEO_EXTENSIONS
from tests.corpus import CORPUS, DEGRADED, expected, files, needs_corpus
from tests.processes import eventually, processes_with

pytestmark = [pytest.mark.slow, needs_corpus]

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="module")
def temporary():
    """A temporary folder with a short name: Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield folder


@pytest.fixture(scope="module")
def finished(random_checkpoint, temporary, tmp_path_factory):
    """(output, what it printed) of a run over all hostile files."""
    output = tmp_path_factory.mktemp("corpus") / "out"
    job = [JOBS / "label_k400.py", CORPUS / "hostile", output]
    options = ["--checkpoint", random_checkpoint, "--views", "1x1"]
    environment = {**os.environ, "TMPDIR": temporary}
    done = subprocess.run(
        [sys.executable, *map(str, job), *map(str, options)],
        capture_output=True, text=True, timeout=900, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output, done


def hostile():
    """The files that have a video's name and a byte; the others are counted and left out."""
    return [
        name
        for name in files("hostile")
        if Path(name).suffix in VIDEO_EXTENSIONS and expected(name) != "empty"
    ]


def read(output, table):
    return pq.read_table(Path(output) / table, partitioning=None).to_pylist()


def test_every_hostile_file_is_one_row_of_the_right_kind(finished):
    output, _ = finished
    rows = [(f"hostile/{row['video_id']}", row) for row in read(output, "videos")]
    assert sorted(name for name, _ in rows) == hostile()
    kinds = {
        name: "ok" if row["status"] == "ok" else f"{row['status']}: {row['error_type']}"
        for name, row in rows
    }
    wanted = {name: expected(name) for name in hostile()}
    assert kinds == {
        name: "ok" if kind in ("ok", "degraded") else f"failed: {kind}"
        for name, kind in wanted.items()
    }


def test_lost_frames_are_told_of_damaged_files_and_of_no_other(finished):
    output, _ = finished
    lost = {f"hostile/{row['video_id']}": row["lost_frames"] or 0 for row in read(output, "units")}
    assert {name for name, count in lost.items() if count} == DEGRADED.keys() & lost.keys()
    for name in DEGRADED.keys() & lost.keys():
        assert DEGRADED[name][0] <= lost[name] <= DEGRADED[name][1]


def test_the_run_passes_verification_and_names_its_failures(finished):
    output, done = finished
    checked = subprocess.run(
        [sys.executable, str(JOBS / "verify.py"), str(output)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    failed = [name for name in hostile() if expected(name) not in ("ok", "degraded")]
    assert f"{len(hostile()) - len(failed)} labeled" in done.stdout
    assert f"{len(failed)} failed" in done.stdout
    for kind in {expected(name) for name in failed}:
        assert f"\n  {kind} " in done.stdout
    damaged = len(DEGRADED.keys() & set(hostile()))
    assert f"{damaged} labeled videos are damaged" in done.stdout
    assert "Traceback (most recent call last)" not in done.stdout + done.stderr


def test_no_process_and_no_file_but_rays_logs_stay_behind(finished, temporary):
    # Ray's own processes take a moment to see that the driver is gone.
    assert eventually(lambda: processes_with("TMPDIR", temporary) == [])
    assert os.listdir(temporary) == ["ray"]
