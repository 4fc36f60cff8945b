"""Labelers with a GPU compute on it or not at all; Ray's GPUs here are for its scheduler."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.run.devices import STAND_IN
from tests.heads import ray_head
from tests.videos import write_video
from workers.devices import why_no_cuda

JOBS = Path(__file__).parents[2] / "jobs"
VIDEOS = 4

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    flags = ("--num-cpus=4", "--num-gpus=1")
    with ray_head(tmp_path_factory.mktemp("head") / "ray.log", *flags) as head:
        yield head


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", frames=20)
    return folder


def label(cluster, *arguments, **variables):
    environment = {name: value for name, value in cluster.environment.items() if name != STAND_IN}
    command = [sys.executable, str(JOBS / "label_k400.py"), *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment | variables,
    )


def test_a_gpu_without_cuda_ends_the_run_with_the_reason(
    cluster, archive, random_checkpoint, tmp_path
):
    output = tmp_path / "out"
    asked = (archive, output, "--checkpoint", random_checkpoint, "--views", "2x1")
    refused = label(cluster, *asked)
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: a labeler on ")
    assert why_no_cuda().partition(" (CUDA_VISIBLE")[0] in line
    assert "Traceback (most recent call last)" not in refused.stderr
    assert len(refused.stderr.splitlines()) < 8
    assert not list(output.glob("units/*.parquet"))

    unknown = label(cluster, *asked, **{STAND_IN: "yes"})
    assert unknown.returncode == 2
    assert f"{STAND_IN} is 'yes'" in unknown.stderr

    stand_in = label(cluster, *asked, **{STAND_IN: "cpu"})
    assert stand_in.returncode == 0, stand_in.stderr
    assert f"{STAND_IN} is cpu: labelers hold GPUs and compute on CPUs" in stand_in.stderr
    run = json.loads((output / "run.json").read_text())
    devices = [attempt["devices"] for attempt in run["attempts"]]
    assert devices[:-1] == [[]] * (len(devices) - 1)
    (device,) = devices[-1]
    assert device.startswith("cpu: ")
    assert run["device"]["labelers"] == [device]
    assert f"{device}; 1 GPU and 4 cores on 1 machine" in (output / "report.html").read_text()
