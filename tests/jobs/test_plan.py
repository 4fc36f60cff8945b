"""The planner as its users run it: real files, real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.planner.command import main
from tests.early_exit_files import write_early_exit
from tests.scale.plan_against_run import Compared, Work
from tests.videos import write_video

JOBS = Path(__file__).parents[2] / "jobs"


def plan(*arguments):
    command = [sys.executable, str(JOBS / "plan.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for number in range(5):
        write_video(folder / f"good-{number}.mp4", frames=30 + 10 * number)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def planned(archive, random_checkpoint, tmp_path_factory):
    """What a calibration prints and writes."""
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    early_exit = write_early_exit(
        path.with_name("early-exit.json"),
        0.5,
        source=archive,
        checkpoint=random_checkpoint,
        protocol_views=(2, 1),
        views=1.5,
        decode="fast",
    )
    done = plan(
        archive,
        "--early-exit",
        early_exit,
        "--checkpoint",
        random_checkpoint,
        "--views",
        "2x1",
        "--shadow-share",
        "50%",
        "--min-agreement",
        "90%",
        "--seconds",
        "3",
        "--archive-hours",
        "50",
        "--deadline",
        "2h",
        "--gpu-price",
        "2.5",
        "--core-price",
        "0.04",
        "--json",
        path,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def test_early_exit_pruned_and_unpruned_stand_side_by_side(planned):
    said, told = planned
    assert [each["name"] for each in told["variants"]] == ["early exit", "pruned", "unpruned"]
    stopping, pruned, unpruned = told["variants"]
    assert stopping["r"] == pruned["r"] > unpruned["r"] == 0
    assert {each["known_from"] for each in told["variants"]} == {"measured"}
    assert 1 <= stopping["views"] < pruned["views"] == unpruned["views"] == 2
    assert "early exit (r = " in said
    assert "pruned (r = " in said
    assert "unpruned (r = 0)" in said


def test_each_has_a_cluster_within_the_deadline_and_its_price(planned):
    said, told = planned
    for each in told["variants"]:
        cluster = each["cluster"]
        assert cluster["run"]["seconds"] <= told["deadline_s"] == 7200
        hours = cluster["run"]["seconds"] / 3600
        machines = 2.5 * cluster["gpus"] + 0.04 * cluster["paid_cores"]
        assert cluster["money"] == pytest.approx(hours * machines)
        assert f"{cluster['money']:,.2f} USD" in said


def test_a_broken_video_is_counted_and_costs_no_plan(planned):
    said, told = planned
    for each in told["variants"]:
        assert each["decoder"]["failed"] == {"not_video": 1}
    assert "5 of 6 videos decoded, 1 more failed (not_video)" in said


def test_work_is_what_was_asked_for(planned):
    _, told = planned
    assert told["work"]["video_s"] == pytest.approx(50 * 3600)


def test_the_command_to_run_has_the_flags_given_and_those_found(planned, archive):
    _, told = planned
    for each in told["variants"]:
        words = each["command"].split()
        assert words[:4] == ["python", "jobs/label_k400.py", str(archive), "OUTPUT"]
        for flag, value in (
            ("--views", "2x1"),
            ("--r", each["r"]),
            ("--labelers", each["cluster"]["labelers"]),
        ):
            assert words[words.index(flag) + 1] == str(value)
        assert "--prices" not in words
        # The labeling job refuses a shadow sample of the unpruned model.
        for flag in ("--shadow-share", "--min-agreement"):
            assert (flag in words) == (each["name"] != "unpruned")
        assert ("--early-exit" in words) == (each["name"] == "early exit")
        decoders = int(words[words.index("--decoders") + 1])
        assert decoders <= each["cluster"]["decoders"] <= 2 * decoders


@pytest.mark.slow
def test_a_finished_run_needs_no_calibration_and_no_checkpoint(
    archive, random_checkpoint, tmp_path
):
    output = tmp_path / "run"
    run = [sys.executable, str(JOBS / "label_k400.py"), archive, output]
    run += ["--checkpoint", random_checkpoint, "--views", "2x1"]
    subprocess.run(list(map(str, run)), check=True, capture_output=True, timeout=900)
    done = plan(output, "--deadline", "90m", "--videos", "1000", "--core-price", "0.04")
    assert done.returncode == 0, done.stderr
    assert "Calibrating" not in done.stderr
    assert "units labeled in one attempt" in done.stdout
    assert "Within 1:30:00" in done.stdout
    # What is to be run is the run's own command.
    commands = [line for line in done.stdout.splitlines() if "jobs/label_k400.py" in line]
    assert len(commands) == 2
    for command in commands:
        assert f"label_k400.py {archive} OUTPUT --checkpoint {random_checkpoint}" in command
        assert "--views 2x1" in command


@pytest.mark.slow
def test_recordings_are_planned_by_segments(archive, random_checkpoint, tmp_path):
    path = tmp_path / "plan.json"
    done = plan(
        archive,
        "--checkpoint",
        random_checkpoint,
        *("--clip-every", "100ms", "--views", "4x1", "--seconds", "2", "--json", path),
    )
    assert done.returncode == 0, done.stderr
    work = json.loads(path.read_text())["work"]
    # Segments of 0.4 s, of videos of 1 to 2.33 s.
    assert work["units"] > 2 * work["videos"]


@pytest.fixture
def failing(capsys):
    """Runs a command that is refused, in this process, and gives its one line of error."""

    def run(*arguments):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as ended:  # argparse refuses a value
            code = ended.code
        assert code == 2
        out, err = capsys.readouterr()
        assert out == ""
        errors = [line for line in err.splitlines() if not line.startswith("Calibrating")]
        assert len(errors) == 1, err
        return errors[0]

    return run


def test_a_folder_without_videos_is_refused(failing, tmp_path, random_checkpoint):
    (tmp_path / "notes.txt").touch()
    said = failing(tmp_path, "--checkpoint", random_checkpoint)
    assert said.startswith("error: no video in ")


def test_a_sample_that_cannot_be_decoded_ends_the_plan_with_its_reasons(
    capsys, tmp_path, random_checkpoint
):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "b.mp4").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    assert main([str(tmp_path), "--checkpoint", str(random_checkpoint), "--seconds", "1"]) == 1
    said = capsys.readouterr().err
    assert "error: none of the sampled videos" in said
    assert "2 not_video, for example a.mp4" in said


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--deadline", "soon"], "a time must be a number above 0"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--gpu-price", "2", "--prices", "p.yaml"], "not both"),
        (["--gpu-price", "-2", "--core-price", "1"], "--gpu-price must be 0 or more"),
        (["--preemptions", "-1"], "--preemptions must be 0 or more"),
        (["--rows-per-s", "0"], "--rows-per-s must be above 0"),
    ],
)
def test_a_wrong_command_is_refused_before_any_work(
    failing, archive, random_checkpoint, flags, named
):
    assert named in failing(archive, "--checkpoint", random_checkpoint, *flags)


def test_an_impossible_deadline_says_what_takes_longer(failing, archive, random_checkpoint):
    said = failing(
        archive,
        *("--checkpoint", random_checkpoint, "--views", "1x1", "--seconds", "1"),
        *("--deadline", "2s"),
    )
    assert "--deadline 0:02 is impossible: starting alone takes" in said


@pytest.mark.parametrize(
    ("predicted", "actual", "within"), [(100, 120, True), (100, 140, False), (130, 100, False)]
)
def test_a_plan_agrees_with_the_run_within_its_tolerance(predicted, actual, within):
    work = Work(0.1, 0.2, 15.0)
    compared = Compared("pruned", predicted, actual, 10.0, 12.0, 2.0, 1.6, work, work)
    assert compared.is_within is within
    assert compared.with_its_cores == pytest.approx(12.5)
