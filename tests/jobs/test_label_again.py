"""The same command again: after failures, after damage, beside another one."""

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.processes import wait_while_running
from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"


def command(*arguments, job="label_k400"):
    return [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]


def run(*arguments, job="label_k400"):
    return subprocess.run(
        command(*arguments, job=job), capture_output=True, text=True, timeout=900, check=False
    )


def rows(output, table):
    read = pq.read_table(Path(output) / table, partitioning=None)
    return {row["video_id"]: row for row in read.to_pylist()}


def is_whole(output):
    return run(output, job="verify").returncode == 0


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(8):
        write_video(folder / f"{number}.mp4", frames=16 + number, height=64, width=80)
    (folder / "text.mp4").write_text("no video")
    (folder / "late.mp4").symlink_to(".later.mp4")
    return folder


@pytest.fixture
def label(archive, random_checkpoint, tmp_path):
    """Runs the command on the archive, with more flags if need be."""

    def labeled(*flags, output=tmp_path / "out"):
        return run(archive, output, "--checkpoint", random_checkpoint, "--views", "1x1", *flags)

    return labeled


def test_failures_that_may_be_gone_are_done_again_and_nothing_else_is(label, tmp_path):
    output = tmp_path / "out"
    assert label().returncode == 0
    before = rows(output, "units")
    assert before["late.mp4"]["error_type"] == "not_found"
    write_video(tmp_path / "archive" / ".later.mp4", frames=30, height=64, width=80)

    assert "is complete; nothing to do" in label().stderr
    assert rows(output, "units") == before

    again = label("--retry-failed")
    assert again.returncode == 0, again.stderr
    assert "Labeling 1 failed units again." in again.stderr
    after = rows(output, "units")
    assert after.keys() == before.keys()
    assert after["late.mp4"]["status"] == "ok"
    # Their times show that the other rows, the hopeless failure among them, are the old ones.
    assert {k: v for k, v in after.items() if k != "late.mp4"} == {
        k: v for k, v in before.items() if k != "late.mp4"
    }
    assert rows(output, "videos")["late.mp4"]["status"] == "ok"
    assert is_whole(output)
    assert "is complete; nothing to do" in label("--retry-failed").stderr


def test_commits_that_were_deleted_are_made_again_and_no_other(label, tmp_path):
    output = tmp_path / "out"
    assert label().returncode == 0
    before = rows(output, "units")
    deleted: set[str] = set()
    for checkpoint in sorted((output / "_checkpoint").glob("*.parquet"))[::2]:
        (file,) = (output / "units").glob(f"{checkpoint.stem}-*.parquet")
        deleted |= set(pq.read_table(file)["video_id"].to_pylist())
        file.unlink()
        checkpoint.unlink()
    (output / "_SUCCESS").unlink()
    left = set((output / "units").iterdir())

    assert label().returncode == 0
    after = rows(output, "units")
    assert 0 < len(deleted) < len(after) == len(before)
    made = [
        pq.read_table(file)["video_id"].to_pylist()
        for file in (output / "units").iterdir()
        if file not in left
    ]
    assert sorted(name for names in made for name in names) == sorted(deleted)
    assert {after[name] == before[name] for name in after.keys() - deleted} == {True}
    assert is_whole(output)


def test_halves_of_commits_that_were_deleted_are_found_and_the_units_are_done_again(
    label, tmp_path
):
    output = tmp_path / "out"
    assert label().returncode == 0
    one, other = sorted((output / "_checkpoint").glob("*.parquet"))[:2]
    one.unlink()
    next((output / "units").glob(f"{other.stem}-*.parquet")).unlink()
    (output / "_SUCCESS").unlink()
    again = label()
    assert again.returncode == 0, again.stderr
    assert "that an interrupted attempt left." in again.stderr
    assert is_whole(output)


def test_max_failed_stops_a_wrong_input_and_counts_the_reasons(label, archive, tmp_path):
    for number in range(60):
        (archive / f"broken-{number}.mp4").write_bytes(b"no video" if number % 2 else b"none")
    stopped = label("--max-failed", "20%")
    assert stopped.returncode == 1
    *_, reason, advice = stopped.stderr.splitlines()
    assert re.search(r"\d+ of \d+ failed \(\d+ not_video\)", reason)
    assert "more than --max-failed 20 % allows for this run of 70" in reason
    assert "Raise --max-failed to go on" in advice
    assert "timeout" in advice
    assert not (tmp_path / "out" / "_SUCCESS").exists()

    refused = label("--max-failed", "20%")
    assert refused.returncode == 1
    done = label("--max-failed", "95%")
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "out", "videos")) == 70
    assert is_whole(tmp_path / "out")


def test_a_second_command_on_the_same_output_is_refused_and_the_first_goes_on(
    archive, random_checkpoint, tmp_path
):
    output = tmp_path / "out"
    arguments = (archive, output, "--checkpoint", random_checkpoint, "--views", "1x1")
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as first:
        wait_while_running(first, lambda: bool(list(output.glob("_lease/*"))))
        second = run(*arguments)
        first.communicate(timeout=900)
    assert first.returncode == 0
    # The first may have ended while the second waited for its heartbeat.
    if second.returncode == 2:
        assert second.stderr.splitlines()[-1].startswith(
            "error: another command is working on this OUTPUT: process"
        )
    else:
        assert second.returncode == 0
    assert is_whole(output)
    assert not list(output.glob("_lease/*"))


def test_a_run_over_one_days_partition_leaves_anothers_alone(archive, random_checkpoint, tmp_path):
    other = tmp_path / "archive-2"
    other.mkdir()
    write_video(other / "0.mp4", frames=20, height=64, width=80)
    flags = ("--checkpoint", random_checkpoint, "--views", "1x1")
    one, two = tmp_path / "labels" / "day-1", tmp_path / "labels" / "day-2"
    assert run(archive, one, *flags).returncode == 0
    before = {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    assert run(other, two, *flags).returncode == 0
    assert {path: path.read_bytes() for path in one.rglob("*") if path.is_file()} == before
    assert rows(two, "videos").keys() == {"0.mp4"}

    mixed = run(other, one, *flags)
    assert mixed.returncode == 2
    assert f"another configuration: input: {archive} in the run, {other} now" in mixed.stderr
    assert {path: path.read_bytes() for path in one.rglob("*") if path.is_file()} == before
