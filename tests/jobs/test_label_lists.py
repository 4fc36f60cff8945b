"""A whole run over Kinetics' CSV: files found below --video-root, dead and bad rows counted."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.inputs.demo.archive import ArchiveSettings, make_archive

pytestmark = pytest.mark.drill

ROOT = Path(__file__).parents[2]


def label(*arguments, expected=0):
    command = [sys.executable, "jobs/label_k400.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == expected, done.stderr
    return " ".join(done.stdout.split()), done.stderr


def test_kinetics_csv_over_downloaded_clips(tmp_path):
    made = make_archive(tmp_path / "made", ArchiveSettings(videos=6))
    rows = []
    for number, entry in enumerate(made):
        folder = tmp_path / "root" / "val" / entry.label.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / entry.uri).rename(folder / f"-id{number}_00000{number}_000010.mp4")
        rows.append((entry.label, f"-id{number}", number, 10, "val"))
    rows += [("a label", f"dead{number}", 0, 10, "val") for number in range(3)]
    with (tmp_path / "k400_val.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        write.writerows([*rows, ("one", "cell", 1, 2, "too", "many")])

    asked = (tmp_path / "k400_val.csv", tmp_path / "out", "--checkpoint", "demo", "--views", "1x1")
    _, refused = label(*asked, expected=2)
    assert "this looks like Kinetics' official CSV" in refused
    asked += ("--video-root", tmp_path / "root")
    _, refused = label(*asked, expected=2)
    assert "k400_val.csv, line 11: it has 6 cells" in refused
    assert not (tmp_path / "out").exists()

    asked += ("--skip-bad-lines",)
    summary, _ = label(*asked)
    assert "Videos: 6 labeled" in summary
    assert "of 6 videos with ground truth" in summary
    assert "3 of 10 rows without a file below --video-root (dead0_000000_000010, dead1_" in summary
    assert "1 of 10 rows that cannot be read (line 11: it has 6 cells" in summary
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["listing"]["videos"], record["listing"]["rows"]) == (6, 10)
    assert record["identity"]["lists"] == {
        "video_root": str(tmp_path / "root"),
        "skip_bad_lines": True,
    }
    videos = pq.read_table(tmp_path / "out" / "videos", partitioning=None).to_pylist()
    assert {video["video_id"]: video["ground_truth"] for video in videos} == {
        f"-id{number}_00000{number}_000010": entry.label for number, entry in enumerate(made)
    }
    assert "is complete; nothing to do" in label("--config", tmp_path / "out" / "run.json")[1]
    _, refused = label(*asked[:-1], expected=2)
    assert "lists.skip_bad_lines: True in the run, not set now" in refused
