"""A question as its user asks it, on real files: rounds are runs like any other."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.videos import write_video

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"


def job(name, *arguments):
    command = [sys.executable, str(JOBS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty videos in two folders."""
    made = tmp_path_factory.mktemp("ask")
    for number in range(30):
        place = made / "in" / ("day" if number % 2 else "night")
        place.mkdir(parents=True, exist_ok=True)
        write_video(place / f"{number}.mp4", frames=20 + number)
    return made


@pytest.fixture(scope="module")
def asked(folder, random_checkpoint):
    """A question that twenty references do not answer."""
    settings = ("--checkpoint", random_checkpoint, "--views", "2x1", "--max-reference", "20")
    return job("ask.py", folder / "in", "share of a, b", folder / "out", *settings)


def test_a_question_that_is_cut_short_says_so_and_ends_with_1(asked, folder):
    assert asked.returncode == 1, asked.stderr
    assert "Question:  share of a, b" in asked.stdout
    assert "--max-reference ended the question" in " ".join(asked.stdout.split())
    said = json.loads((folder / "out" / "answer.json").read_text())
    assert not said["is_met"]
    assert 0 < said["sources"][0]["looks"][-1]["reference"] < 30
    assert (folder / "out" / "answer.html").exists()


def test_the_run_of_a_sample_verifies_and_has_a_report(asked, folder):
    ended = job("verify.py", folder / "out" / "reference")
    assert ended.returncode == 0, ended.stdout
    assert (folder / "out" / "reference" / "report.html").exists()
    assert not (folder / "out" / "proxy").exists()  # so few videos need none


def test_asked_again_without_a_limit_it_goes_on_to_an_exact_answer(
    asked, folder, random_checkpoint
):
    settings = ("--checkpoint", random_checkpoint, "--views", "2x1", "--by", "prefix")
    ended = job("ask.py", folder / "in", "share of a, b", folder / "out", *settings)
    assert ended.returncode == 0, ended.stderr
    said = json.loads((folder / "out" / "answer.json").read_text())
    labels = pq.read_table(folder / "out" / "reference" / "videos").to_pylist()
    assert len(labels) == 30
    found = {
        (each["label"], each["group"]): each
        for each in said["sources"][0]["looks"][-1]["estimates"]
    }
    for label in "ab":
        for group in ("", "day", "night"):
            rows = [row for row in labels if row["video_id"].startswith(group)]
            share = sum(row["label"] == label for row in rows) / len(rows)
            each = found[label, group]
            assert each["low"] == pytest.approx(share) == pytest.approx(each["high"])


def test_a_labeling_job_goes_on_from_the_reference(asked, folder, random_checkpoint):
    settings = ("--checkpoint", random_checkpoint, "--views", "2x1", "--r", "0")
    ended = job("label_k400.py", folder / "in", folder / "out" / "reference", *settings)
    assert ended.returncode == 0, ended.stderr
    assert len(pq.read_table(folder / "out" / "reference" / "videos")) == 30
    assert job("verify.py", folder / "out" / "reference").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("share a",), "is no question; the forms are"),
        (("share of nothing",), "is no class of the model"),
        (("rate of a per hour",), "a rate needs --within"),
        (("videos with a",), "needs --recall"),
        (("share of a", "--recall", "0.9"), "--recall belongs to"),
        (("share of a", "--confidence", "100%"), "--confidence must be 50 % or more"),
        (("share of a", "--early-exit", "x.json"), "--early-exit does not go with a question"),
    ],
)
def test_mistakes_are_told_in_one_line_before_any_work(
    folder, tmp_path, random_checkpoint, words, said
):
    question, *more = words
    settings = ("--checkpoint", random_checkpoint, *more)
    ended = job("ask.py", folder / "in", question, tmp_path / "out", *settings)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
