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
VIDEOS, DIFFERENT = 300, 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three hundred names of twelve tiny videos: more than the first round has."""
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


def estimates(output):
    """The estimates after every round, and what each rests on."""
    answer = json.loads((output / "answer.json").read_text())
    return [
        (look["reference"], look["proxy"], look["estimates"])
        for look in answer["sources"][0]["looks"]
    ]


@pytest.mark.parametrize("place", ["reference/units", "proxy/units"])
def test_a_killed_question_that_is_asked_again_has_the_same_answer(
    archive, random_checkpoint, tmp_path, place
):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    command = question(archive, random_checkpoint, undisturbed)
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    command = question(archive, random_checkpoint, disturbed)
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_while_running(driver, lambda: any((disturbed / place).glob("*.parquet")))
    driver.kill()
    driver.wait()
    assert not (disturbed / "answer.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert len(estimates(undisturbed)) > 1
    assert estimates(disturbed) == estimates(undisturbed)
    for run in ("reference", "proxy"):
        checked = [sys.executable, str(JOBS / "verify.py"), str(disturbed / run)]
        assert subprocess.run(checked, capture_output=True, check=False).returncode == 0
