"""OUTPUT is full, read-only, gone or another's in mid-run: one line, and nothing is lost."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.disks import small_disk
from tests.faults.archive import make_archive
from tests.processes import wait_while_running

JOBS = Path(__file__).parents[2] / "jobs"
VIDEOS = 40


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "in", VIDEOS)


@pytest.fixture
def asked(archive, random_checkpoint):
    flags = ("--views", "1x1", "--batch-size", "2", "--labelers", "1", "--gallery", "0")

    def arguments(output):
        return [archive, output, "--checkpoint", random_checkpoint, *flags]

    return arguments


def command(job, *arguments):
    return [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]


def run(job, *arguments):
    return subprocess.run(
        command(job, *arguments), capture_output=True, text=True, timeout=400, check=False
    )


def broken(arguments, output, break_it):
    """What a job says whose OUTPUT breaks once some of its rows are there; it must end with 1."""
    job = subprocess.Popen(
        command("label_k400", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_while_running(job, lambda: len(list(output.glob("_checkpoint/*.parquet"))) >= 3)
    break_it()
    _, said = job.communicate(timeout=300)
    assert job.returncode == 1, said
    assert "Traceback (most recent call last)" not in said
    lines = said.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert all(" videos, " in each for each in lines[: lines.index(line)]), said
    assert len(lines) - lines.index(line) <= 3
    return line, lines[-1 if "Ray's logs" not in lines[-1] else -2]


def check_whole(output):
    """Every video has its row once, and the tables are there."""
    ids = pq.read_table(output / "units", partitioning=None)["unit_id"].to_pylist()
    assert len(ids) == len(set(ids)) == VIDEOS
    assert (output / "_SUCCESS").exists()
    assert run("verify", output).returncode == 0


def committed(output):
    return {path: path.stat().st_mtime_ns for path in output.glob("units/*.parquet")}


@pytest.mark.drill
def test_a_full_disk_is_named_with_what_is_needed_and_safe(asked, tmp_path):
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        output = disk.folder / "out"
        line, advice = broken(asked(output), output, disk.fill)
        assert f"{output}/" in line
        assert "No space left on device (" in line
        assert f" of {VIDEOS} units are committed and safe; the rest and the tables need" in line
        assert advice == "Free space there. Run the same command again to resume."
        kept = committed(output)
        assert kept
        (disk.folder / "filler").unlink()
        resumed = run("label_k400", *asked(output))
        assert resumed.returncode == 0, resumed.stderr
        assert kept.items() <= committed(output).items()
        check_whole(output)


@pytest.mark.drill
def test_a_disk_that_becomes_read_only_is_no_wrong_command(asked, tmp_path):
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        output = disk.folder / "out"
        line, advice = broken(asked(output), output, lambda: disk.set_writable(False))
        assert f"{output}/" in line
        assert "Read-only file system" in line
        assert f" of {VIDEOS} units are committed and safe" in line
        assert advice == "Run the same command again to resume."
        kept = committed(output)
        refused = run("label_k400", *asked(output))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"cannot write to {output}: Read-only file system" in refused.stderr
        disk.set_writable(True)
        resumed = run("label_k400", *asked(output))
        assert resumed.returncode == 0, resumed.stderr
        assert kept.items() <= committed(output).items()


@pytest.mark.drill
def test_an_output_that_was_removed_stays_so_and_the_same_command_begins_anew(asked, tmp_path):
    output = tmp_path / "out"

    def remove():
        while output.exists():
            shutil.rmtree(output, ignore_errors=True)

    line, advice = broken(asked(output), output, remove)
    assert line == f"error: {output} was removed, replaced or unmounted while the run wrote to it"
    assert advice.startswith("Nothing was written there since.")
    assert not output.exists()
    anew = run("label_k400", *asked(output))
    assert anew.returncode == 0, anew.stderr
    check_whole(output)


@pytest.mark.drill
def test_a_new_folder_in_the_place_of_output_stays_empty_and_the_old_one_is_resumed(
    asked, tmp_path
):
    output, aside = tmp_path / "out", tmp_path / "aside"

    def replace():
        output.rename(aside)
        output.mkdir()

    line, _ = broken(asked(output), output, replace)
    assert f"{output} was removed, replaced" in line
    assert list(output.iterdir()) == []
    output.rmdir()
    aside.rename(output)
    kept = committed(output)
    resumed = run("label_k400", *asked(output))
    assert resumed.returncode == 0, resumed.stderr
    assert kept.items() <= committed(output).items()
    check_whole(output)


@pytest.mark.drill
def test_another_run_in_the_place_of_output_is_left_alone(asked, tmp_path):
    output, aside, other = tmp_path / "out", tmp_path / "aside", tmp_path / "other"
    assert run("label_k400", *asked(other), "--limit", "4").returncode == 0

    def replace():
        output.rename(aside)
        shutil.copytree(other, output)

    line, _ = broken(asked(output), output, replace)
    assert line == f"error: {output} was replaced by another run while this run wrote to it"
    files = {path.relative_to(other): path.read_bytes() for path in other.rglob("*.*")}
    assert {path.relative_to(output): path.read_bytes() for path in output.rglob("*.*")} == files
    assert json.loads((output / "run.json").read_text())["identity"]["limit"] == 4
