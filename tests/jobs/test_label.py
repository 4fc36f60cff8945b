"""The labeling job as its users run it: real files, real processes, real kills."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.run.tables import CLIPS_SCHEMA, VIDEOS_SCHEMA
from tests.processes import wait_while_running
from tests.videos import write_sound, write_video
from workers.inference.labeler import unpack_mask
from workers.schema import UNITS_SCHEMA

JOBS = Path(__file__).parents[2] / "jobs"

GOOD = [f"good-{number}.mp4" for number in range(9)] + ["sub/good.mkv"]
BAD = {
    "text.mp4": "not_video",
    "sound.mp4": "no_video_stream",
    "cut.mp4": "corrupt",
    "gone.mp4": "not_found",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    (folder / "sub").mkdir()
    for number, name in enumerate(GOOD):
        write_video(folder / name, frames=20 + 8 * number)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    write_sound(folder / "sound.mp4")
    whole = (folder / GOOD[-2]).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "gone.mp4").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("no video and no video's name")
    return folder


def command(job, *arguments):
    return [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]


def label(*arguments, job="label_k400", cwd=None):
    return subprocess.run(
        command(job, *arguments), capture_output=True, text=True, timeout=900, check=False, cwd=cwd
    )


def read(output, table):
    return pq.read_table(Path(output) / table, partitioning=None)


@pytest.fixture(scope="module")
def finished(archive, random_checkpoint, tmp_path_factory):
    """One pruned run over the archive: (output, what it printed)."""
    output = tmp_path_factory.mktemp("runs") / "out"
    flags = ("--checkpoint", random_checkpoint, "--views", "2x3")
    done = label(archive, "out", *flags, cwd=output.parent)
    assert done.returncode == 0, done.stderr
    return output, done


def test_every_file_is_one_row_and_bad_ones_say_why(archive, finished):
    output, _ = finished
    rows = {row["video_id"]: row for row in read(output, "videos").to_pylist()}
    assert sorted(rows) == sorted([*GOOD, *BAD])
    for name in GOOD:
        assert rows[name]["status"] == "ok", rows[name]
        assert rows[name]["num_views"] == 6
        assert rows[name]["uri"] == str(archive / name)
    assert {name: rows[name]["error_type"] for name in BAD} == BAD
    for name in BAD:
        assert rows[name]["status"] == "failed"
        assert rows[name]["error"]
        assert "\n" not in rows[name]["error"]
        assert rows[name]["label"] is None


def test_the_tables_have_the_declared_columns_and_say_what_they_mean(finished):
    output, _ = finished
    for table, schema in {
        "videos": VIDEOS_SCHEMA,
        "clips": CLIPS_SCHEMA,
        "units": UNITS_SCHEMA,
    }.items():
        written = read(output, table).schema
        assert written.equals(schema)
        assert all(field.metadata[b"about"] for field in written)
        assert json.loads(written.metadata[b"kept_grids"]) == [[8, 7, 7]] * 3


def test_videos_add_up_from_clips(finished):
    output, _ = finished
    videos = read(output, "videos")
    clips = read(output, "clips")
    sums = clips.group_by("video_id").aggregate([("flops", "sum"), ("flops", "count")])
    by_video = {row["video_id"]: row for row in sums.to_pylist()}
    for row in videos.filter(pc.equal(videos["status"], "ok")).to_pylist():
        assert row["flops"] == by_video[row["video_id"]]["flops_sum"]
        assert row["num_views"] == by_video[row["video_id"]]["flops_count"]
    totals = json.loads((output / "run.json").read_text())["totals"]
    assert totals["flops"] == pc.sum(clips["flops"]).as_py()
    assert (totals["videos"], totals["ok"], totals["clips"]) == (14, 10, 60)


def test_maps_in_the_output_have_the_tokens_that_were_paid_for(finished):
    output, _ = finished
    for row in read(output, "clips").to_pylist():
        bits = [int(unpack_mask(packed, (8, 49)).sum()) for packed in row["kept_token_maps"]]
        assert bits == row["tokens_kept"] == [216, 128, 84]


def test_the_summary_tells_failures_flops_and_where_to_look(finished):
    output, done = finished
    assert "Videos:    10 labeled" in done.stdout
    assert "4 failed" in done.stdout
    for name, reason in BAD.items():
        assert f"{reason}" in done.stdout
        assert name in done.stdout
    assert "49.1 % of the unpruned model's" in done.stdout
    assert "1 .txt" in done.stdout
    assert "Resumed:" not in done.stdout
    opener = next(x for x in done.stdout.splitlines() if x.startswith("Read with:"))
    shown = in_bash(opener.removeprefix("Read with:"), output.parent)
    assert "good-0.mp4" in shown
    assert "not_video" in shown


def in_bash(command, cwd):
    """What a command prints that was copied from the screen."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=300, check=False, cwd=cwd,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_commands_that_are_proposed_next_run_as_they_stand(finished):
    output, done = finished
    here = output.parent
    _, _, said = done.stdout.partition("\nNext:\n")
    label_unpruned, compare, show = said.splitlines()[1::2]
    unpruned = in_bash(label_unpruned, here)
    assert "not pruned (r = 0)" in unpruned
    assert "Output:    out-r-0\n" in unpruned
    # The first run stands already, so that nothing is left but to compare.
    _, _, said = unpruned.partition("\nNext:\n")
    assert len(said.splitlines()) == 2
    for command in (compare, said.splitlines()[1]):
        assert "Compared on the 10 videos" in in_bash(command, here)
    assert "tokens kept" in in_bash(show, here)


def test_a_run_says_little_beyond_progress(finished):
    _, done = finished
    noise = [line for line in done.stderr.splitlines() if " videos, " not in line]
    assert noise == []


def test_success_is_written_and_the_same_command_has_nothing_to_do(
    archive, finished, random_checkpoint
):
    output, first = finished
    assert (output / "_SUCCESS").exists()
    flags = ("--checkpoint", random_checkpoint, "--views", "2x3")
    again = label(archive, output, *flags, cwd=output.parent)
    assert again.returncode == 0
    assert "is complete; nothing to do" in again.stderr
    # What is proposed next depends on what was done since.
    account, _, _ = first.stdout.partition("\nNext:\n")
    assert again.stdout.startswith(account)


def content(output):
    """Labels, scores and maps, which another run must repeat; times it need not."""
    clips = read(output, "clips").drop_columns(["device_ms"]).to_pylist()
    return sorted(clips, key=lambda row: (row["video_id"], row["clip"], row["crop"]))


def start_and_signal(arguments, output, *, files, sent):
    """Runs the job until so many files of units are there, and sends it a signal."""
    driver = subprocess.Popen(
        command("label_k400", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_while_running(driver, lambda: len(list(output.glob("units/*.parquet"))) >= files)
    driver.send_signal(sent)
    _, said = driver.communicate(timeout=900)
    assert not (output / "_SUCCESS").exists()
    return driver.returncode, said


@pytest.mark.drill
def test_stopped_and_then_killed_the_same_command_finishes_with_every_video_once(
    archive, finished, random_checkpoint, tmp_path
):
    output = tmp_path / "out"
    arguments = (archive, output, "--checkpoint", random_checkpoint, "--views", "2x3")
    code, said = start_and_signal(arguments, output, files=2, sent=signal.SIGTERM)
    assert code == 1
    print(said)
    assert said.splitlines()[-1] == "Stopped. Run the same command again to resume."
    assert "Traceback (most recent call last)" not in said
    code, _ = start_and_signal(arguments, output, files=5, sent=signal.SIGKILL)
    assert code == -signal.SIGKILL

    done = label(*arguments)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^Resumed:   \d+ of 14 videos were already done; "
        r"(this command did the other \d+|none was)",
        done.stdout,
        re.MULTILINE,
    )
    ids = read(output, "units")["unit_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 14
    assert sorted(read(output, "videos")["video_id"].to_pylist()) == sorted([*GOOD, *BAD])
    # A second run, and a broken one at that, says the same to the bit.
    assert content(output) == content(finished[0])
    checked = subprocess.run(command("verify", output), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.endswith("Verified: all checks passed.\n")


@pytest.mark.slow
def test_ssv2_shares_everything_but_the_protocol(archive, random_checkpoint, tmp_path):
    output = tmp_path / "out"
    done = label(
        archive, output, "--checkpoint", random_checkpoint, "--r", "0", "--limit", "5",
        job="label_ssv2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ok = pc.sum(pc.equal(read(output, "videos")["status"], "ok")).as_py()
    clips = read(output, "clips")
    assert ok > 0
    assert clips.num_rows == 6 * ok
    assert set(clips["clip"].to_pylist()) == {0, 1}
    assert set(map(tuple, clips["kept_token_maps"].to_pylist())) == {()}
