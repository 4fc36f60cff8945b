"""A question that is killed and asked again has the answer of one that is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import wait_while_running
from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"
VIDEOS, DIFFERENT = 240, 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Names of twelve tiny videos: more than the first round has."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(VIDEOS):
        file = folder / f"{number:03d}.mp4"
        if number < DIFFERENT:
            write_video(file, frames=16 + 4 * number)
        else:
            os.link(folder / f"{number % DIFFERENT:03d}.mp4", file)
    return folder


def question(archive, checkpoint, output):
    return [
        *(sys.executable, JOBS / "ask.py", archive, "share of a, b", output),
        *("--checkpoint", checkpoint, "--views", "2x1", "--within", "4"),
    ]


def asked(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def estimates(output):
    """The estimates after every round, and what each rests on."""
    answer = json.loads((output / "answer.json").read_text())
    return [
        (look["reference"], look["proxy"], look["estimates"])
        for look in answer["sources"][0]["looks"]
    ]


@pytest.fixture(scope="module")
def undisturbed(archive, random_checkpoint, tmp_path_factory):
    """The estimates of a question that nobody kills."""
    output = tmp_path_factory.mktemp("undisturbed")
    done = asked(question(archive, random_checkpoint, output))
    assert done.returncode == 0, done.stderr
    return estimates(output)


@pytest.mark.parametrize("place", ["reference/units", "proxy/units"])
def test_a_killed_question_that_is_asked_again_has_the_same_answer(
    archive, random_checkpoint, undisturbed, tmp_path, place
):
    command = question(archive, random_checkpoint, tmp_path)
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_while_running(driver, lambda: any((tmp_path / place).glob("*.parquet")))
    finally:
        driver.kill()
        driver.wait()
    assert not (tmp_path / "answer.json").exists()
    done = asked(command)
    assert done.returncode == 0, done.stderr
    assert len(undisturbed) > 1
    assert estimates(tmp_path) == undisturbed
    for run in ("reference", "proxy"):
        checked = asked([sys.executable, JOBS / "verify.py", tmp_path / run])
        assert checked.returncode == 0, checked.stdout
