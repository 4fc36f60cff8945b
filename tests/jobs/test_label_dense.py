"""Timelines as a user makes them: recordings cut by time, each clip with its own time and label."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.recordings import lengthened
from tests.videos import write_video

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
SECONDS = {"long.mp4": 33, "long.mkv": 21, "short.mp4": 1}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    source = write_video(folder.parent / "source.mp4", frames=90, height=64, width=80)
    lengthened(source, folder / "long.mp4", times=11)
    lengthened(source, folder / "long.mkv", times=7)
    write_video(folder / "short.mp4", frames=30, height=64, width=80)
    (folder / "text.mp4").write_text("no recording")
    return folder


@pytest.fixture(scope="module")
def label(archive, random_checkpoint, tmp_path_factory):
    """Labels the archive with units of so many clips, one every second; gives OUTPUT."""

    def labeled(clips):
        output = tmp_path_factory.mktemp("runs") / f"units-of-{clips}"
        command = [sys.executable, str(JOBS / "label_k400.py"), str(archive), str(output)]
        command += ["--checkpoint", str(random_checkpoint), "--clip-every", "1s"]
        done = subprocess.run(
            [*command, "--views", f"{clips}x1"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "segments" in done.stderr
        return output

    return labeled


@pytest.fixture(scope="module")
def output(label):
    return label(4)


def rows(output, table):
    return pq.read_table(output / table, partitioning=None).to_pylist()


def test_every_second_of_every_recording_has_its_clip(output):
    starts = {}
    for row in rows(output, "clips"):
        assert row["start_s"] == pytest.approx(row["clip"], abs=0.05)
        starts.setdefault(row["video_id"], []).append(row["clip"])
    assert {name: sorted(clips) for name, clips in starts.items()} == {
        name: list(range(seconds)) for name, seconds in SECONDS.items()
    }


def test_videos_add_up_from_their_units_and_other_files_fail(output):
    videos = {row["video_id"]: row for row in rows(output, "videos")}
    assert videos.keys() == {*SECONDS, "text.mp4"}
    assert videos["text.mp4"]["error_type"] == "not_video"
    for name, seconds in SECONDS.items():
        row = videos[name]
        assert (row["status"], row["units_failed"]) == ("ok", 0)
        assert (row["num_views"], row["units"]) == (seconds, -(-seconds // 4))
        assert row["duration_s"] == pytest.approx(seconds, abs=0.1)
        assert row["frame_count"] == 30 * seconds
    units = [row["unit_id"] for row in rows(output, "manifest")]
    assert len(units) == len(set(units)) == sum(row["units"] for row in videos.values())
    listing = json.loads((output / "run.json").read_text())["listing"]
    assert (listing["videos"], listing["units"]) == (4, len(units))


def test_the_run_passes_verification_and_leaves_no_listing(output):
    checked = subprocess.run(
        [sys.executable, str(JOBS / "verify.py"), str(output)], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert not (output / "_listed").exists()


@pytest.mark.drill
def test_the_length_of_segments_changes_no_clip(output, label):
    def clips(run):
        kept = pq.read_table(run / "clips", partitioning=None)
        listed = kept.drop_columns(["unit_id", "device_ms"]).to_pylist()
        return sorted(listed, key=lambda row: (row["video_id"], row["clip"]))

    assert clips(output) == clips(label(7))
