"""Three nights over a folder that grows, each labeling with --since what the last one did not."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.videos import write_video

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.drill


def job(name, *arguments, expected=0):
    command = [sys.executable, f"jobs/{name}.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == expected, done.stderr
    return done.stdout + done.stderr


def ids(output):
    return sorted(pq.read_table(output / "videos", partitioning=None)["video_id"].to_pylist())


def test_each_night_labels_what_is_new(tmp_path):
    videos, nights = tmp_path / "videos", [tmp_path / f"night-{number}" for number in range(3)]
    videos.mkdir()
    for name in "ab":
        write_video(videos / f"{name}.mp4", frames=20)
    flags = ("--checkpoint", "demo", "--views", "1x1")
    job("label_k400", videos, nights[0], *flags)
    assert ids(nights[0]) == ["a.mp4", "b.mp4"]

    time.sleep(1.1)  # run.json has whole seconds
    write_video(videos / "b.mp4", frames=24)
    write_video(videos / "c.mp4", frames=20)
    said = job("label_k400", videos, nights[1], *flags, "--since", nights[0])
    assert ids(nights[1]) == ["b.mp4", "c.mp4"]
    assert "Since:     1 video labeled in" in said
    assert "manifest" in said.partition("Next:")[2]
    record = json.loads((nights[1] / "run.json").read_text())
    assert record["listing"]["labeled_before"] == 1
    assert record["flags"]["since"] == [str(nights[0])]
    assert json.loads((nights[1] / "report.json").read_text())["run"]["labeled_before"] == 1

    said = job("label_k400", videos, nights[2], *flags, f"--since={nights[1]}")
    assert f"Nothing new in {videos}: 3 videos labeled in" in " ".join(said.split())
    assert ids(nights[2]) == []
    assert (nights[2] / "_SUCCESS").exists()
    job("verify", nights[2])
