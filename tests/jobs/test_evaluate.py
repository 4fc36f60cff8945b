"""The accuracy laboratory as its users run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.lab.evaluation import command
from pipeline.labeling.sweep import read_sweep
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.videos import write_video

JOB = Path(__file__).parents[2] / "jobs" / "evaluate.py"
ASKED = (
    "--variants",
    "random,order-FFF,tome@50%",
    "--seeds",
    "2",
    "--views",
    "2x1",
    "--batch-size",
    "4",
)


def evaluate(*arguments, cwd=None):
    words = [sys.executable, str(JOB), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=900, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Eight videos: six that the model of random weights knows the labels of."""
    folder = tmp_path_factory.mktemp("archive")
    lines = ["uri,video_id,label"]
    for number, label in enumerate(["a", "b", "c", "d", "e", "f", "", "yak"]):
        write_video(folder / f"{number}.mp4", frames=20 + 10 * number)
        lines.append(f"{number}.mp4,video {number},{label}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def finished(archive, random_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "out"
    arguments = (archive, output, "--checkpoint", random_checkpoint, *ASKED)
    return arguments, evaluate(*arguments)


def content(output):
    return json.loads((output / "evaluation.json").read_text())


@pytest.mark.slow
def test_the_report_is_written_and_its_shares_are_those_of_the_sweep(finished):
    (_, output, *_), done = finished
    assert done.returncode == 0, done.stderr
    assert f"Report:    {output / 'evaluation.html'}" in done.stdout
    found = content(output)
    assert [each["name"] for each in found["variants"]] == [
        *("unpruned", "sta", "random", "order-FFF", "sta@50%", "tome@50%")
    ]
    assert (found["videos"], found["unlabeled"], found["unknown_labels"]) == (6, 1, {"yak": 1})
    right = dict.fromkeys(("unpruned", "random-0", "random-1"), 0)
    for chunk in read_sweep(RunDirectory(Location.of(str(output / "sweep")))):
        for name in right:
            said = chunk.probabilities[name].mean(1).argmax(1)
            right[name] += sum(
                ground_truth == "abcdef"[place]
                for ground_truth, place in zip(chunk.ground_truths, said, strict=True)
            )
    shares = {each["name"]: each["top1"]["value"] for each in found["variants"]}
    assert shares["unpruned"] == pytest.approx(right["unpruned"] / 6)
    assert shares["random"] == pytest.approx((right["random-0"] + right["random-1"]) / 12)
    assert {table["key"] for table in found["tables"]} == {"cost", "figure5", "6b"}
    page = (output / "evaluation.html").read_text()
    assert "no pruning" in page
    assert "STA and other methods at 49.1 % of the FLOPs" in page


@pytest.mark.slow
def test_the_same_command_labels_nothing_again_and_says_the_same(finished):
    arguments, first = finished
    before = (arguments[1] / "sweep" / "run.json").read_bytes()
    again = evaluate(*arguments)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert (arguments[1] / "sweep" / "run.json").read_bytes() == before


def refused(*arguments, cwd=None):
    done = evaluate(*arguments, cwd=cwd)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.slow
def test_videos_without_labels_are_refused_before_any_work(archive, random_checkpoint, tmp_path):
    asked = (tmp_path / "out", "--checkpoint", random_checkpoint)
    line = refused(archive.parent, *asked)
    assert line.startswith(f"error: no video of {archive.parent} has a label, which")
    assert "columns uri and label" in line
    foreign = tmp_path / "foreign.csv"
    foreign.write_text(f"uri,label\n{archive.parent / '0.mp4'},gnu\n")
    assert refused(foreign, *asked).endswith(
        "none of the 1 labels is one of the model's classes, such as 'gnu'; the model's are 'a', "
        "'b', 'c', ..."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_is_missing_or_unknown_is_named(archive, random_checkpoint, tmp_path):
    out = tmp_path / "out"
    assert "OUTPUT is missing" in refused(archive, "--checkpoint", random_checkpoint)
    assert "--checkpoint is missing" in refused(archive, out)
    asked = (archive, out, "--checkpoint", random_checkpoint)
    assert "there is no 'orders'" in refused(*asked, "--variants", "orders")
    assert "--r must be 1 to 24 for vit_demo; got 30" in refused(*asked, "--r", "30")
    assert "sample must be of 1 video or more" in refused(*asked, "--videos", "0")
    assert not out.exists()


@pytest.mark.slow
def test_other_variants_in_the_same_place_are_refused(finished):
    (archive, output, _, checkpoint, *_), _ = finished
    line = refused(archive, output, "--checkpoint", checkpoint, "--quick", "--views", "2x1")
    assert "belongs to another configuration" in line


@pytest.mark.drill
def test_without_input_the_demos_test_videos_are_made_and_judged(tmp_path):
    done = evaluate(
        *("--videos", "4", "--variants", "score-semantics", "--views", "1x1"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "vit_demo on 4 labeled videos" in done.stdout
    assert len(list((tmp_path / "demo" / "test").glob("*.mp4"))) == 4
    (output,) = tmp_path.glob("demo/evaluation-*")
    assert content(output)["videos"] == 4


def test_demo_runs_of_other_settings_have_their_own_folders():
    def place(*flags):
        return command._output(command._parser().parse_args(flags))

    assert place() == "demo/evaluation"
    asked = [(), ("--quick",), ("--videos", "50"), ("--r", "8"), ("--quick", "--r", "8")]
    assert len({place(*flags) for flags in asked}) == len(asked)
    assert place("--labelers", "1") == place()
