"""The calibration as its users run it: real files, real processes, and a run with its file."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.early_exit import EarlyExitFile
from pipeline.lab.early_exit.command import main
from pipeline.lab.early_exit.flags import DEMO_VIDEOS, binding, parser
from pipeline.storage.location import Location
from tests.videos import write_video

JOBS = Path(__file__).parents[2] / "jobs"
VIDEOS = 6

# Half of the videos at 95 %: five that agree are enough.
HALF = ("--agreement", "50%")


def run(job, *arguments, **options):
    command = [sys.executable, str(JOBS / job), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=900, check=False, **options
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for number in range(VIDEOS):
        write_video(folder / f"good-{number}.mp4", frames=30 + 10 * number)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def calibrated(archive, random_checkpoint, tmp_path_factory):
    """What a calibration prints, and the early-exit file that it writes."""
    place = tmp_path_factory.mktemp("calibration") / "early-exit.json"
    asked = ["--views", "2x3", "--r", "16", "--direction", "FFF"]
    done = run("calibrate.py", archive, place, "--checkpoint", random_checkpoint, *HALF, *asked)
    assert done.returncode == 0, done.stderr
    return done.stdout, place


@pytest.mark.slow
def test_file_report_and_sweep_lie_beside_each_other(calibrated):
    said, place = calibrated
    early_exit = EarlyExitFile.read(Location.of(str(place)))
    assert early_exit.videos == VIDEOS
    assert early_exit.point.low >= 0.5
    assert (early_exit.pruning["r"], early_exit.pruning["direction"]) == (16, "FFF")
    assert (place.parent / "early-exit-sweep" / "_SUCCESS").exists()
    assert "Label with this threshold" in place.with_suffix(".html").read_text()
    assert "at least 50 % of videos keep the label of all 6 views" in said
    assert "6 videos (1 more failed)" in said


@pytest.mark.drill
def test_the_printed_command_labels_with_early_exit(calibrated, archive, tmp_path):
    said, place = calibrated
    line = next(line for line in said.splitlines() if line.startswith("Label with it:"))
    words = shlex.split(line.partition(":")[2])
    assert words[:2] == ["python", "jobs/label_k400.py"]
    places = {"INPUT": str(archive), "OUTPUT": str(tmp_path / "labels")}
    done = run("label_k400.py", *[places.get(word, word) for word in words[2:]], "--gallery", "0")
    assert done.returncode == 0, done.stderr
    identity = json.loads((tmp_path / "labels" / "run.json").read_text())["identity"]
    assert (
        identity["early_exit"]["threshold"] == EarlyExitFile.read(Location.of(str(place))).threshold
    )


@pytest.mark.slow
def test_another_guarantee_on_the_same_sweep_labels_nothing_again(
    calibrated, archive, random_checkpoint
):
    _, place = calibrated
    sweep = place.parent / "early-exit-sweep"
    before = {file: file.stat().st_mtime_ns for file in sweep.rglob("*.parquet")}
    other = place.with_name("other.json")
    done = run(
        "calibrate.py", archive, other, "--checkpoint", random_checkpoint, "--sweep", sweep,
        "--views", "2x3", "--r", "16", "--direction", "FFF", "--agreement", "0.3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert EarlyExitFile.read(Location.of(str(other))).agreement == 0.3
    assert {file: file.stat().st_mtime_ns for file in sweep.rglob("*.parquet")} == before


def refused(capsys, *arguments):
    assert main([str(each) for each in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_too_few_videos_are_refused_before_any_work(capsys, archive, random_checkpoint, tmp_path):
    place = tmp_path / "early-exit.json"
    named = (archive, place, "--checkpoint", random_checkpoint)
    assert "needs at least 736 videos, and " in (said := refused(capsys, *named))
    assert f"{archive} has 7" in said
    assert "--sample is 200" in refused(capsys, *named, "--sample", "200")
    only_exact = refused(capsys, *named, "--decoder", "nvdec")
    assert "needs at least 598 videos, and " in only_exact, "nvdec has no fast decoding to choose"
    assert not os.listdir(tmp_path)


def test_missing_or_wrong_arguments_are_one_line(capsys, archive, tmp_path):
    place = tmp_path / "early-exit.json"
    assert "EARLY_EXIT is missing" in refused(capsys, archive, "--checkpoint", "demo")
    assert "--checkpoint is missing" in refused(capsys, archive, place)
    demo = (archive, place, "--checkpoint", "demo", *HALF)
    assert "JSON file" in refused(capsys, archive, tmp_path / "x.html", *demo[2:])
    assert "--confidence must be above 0" in refused(capsys, *demo, "--confidence", "0")
    assert "the largest r for this model is 24" in refused(capsys, *demo, "--r", "400")
    assert not place.exists()


def test_the_printed_command_has_the_decoder_that_the_file_is_for(archive):
    asked = parser().parse_args([str(archive), "early-exit.json", "--decoder", "nvdec"])
    assert binding(asked) == ["--decoder", "nvdec"]


def test_help_tells_how_many_videos_the_demo_makes(capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--help"])
    assert ended.value.code == 0
    assert f"an archive of {DEMO_VIDEOS:,} videos" in capsys.readouterr().out


def test_another_file_is_not_overwritten(archive, tmp_path, capsys):
    place = tmp_path / "notes.json"
    place.write_text("[]")
    for name, said in ((place, "exists and is no early-exit file"), (tmp_path, "Is a directory")):
        assert main([str(archive), str(name), "--checkpoint", "demo", *HALF]) == 2
        assert said in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["notes.json"]


def test_a_file_that_a_submitted_job_would_lose_is_refused(tmp_path, monkeypatch, capsys):
    unpacked = tmp_path / "working_dir_files" / "_ray_pkg_1"
    unpacked.mkdir(parents=True)
    monkeypatch.chdir(unpacked)
    for names in (["early-exit.json"], ["/x/early-exit.json", "--sweep", "sweep"]):
        assert main(["/x", *names, "--checkpoint", "demo", *HALF]) == 2
        assert "is relative to the folder that Ray unpacked" in capsys.readouterr().err
