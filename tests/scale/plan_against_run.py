"""What the planner predicts for a run on this machine, and what that run then takes.

    python -m tests.scale.plan_against_run --videos 200 --rounds 3

Each round calibrates, predicts the time from the command's start to _SUCCESS and that of the graph
alone (run.json's totals.stages.wall_s), and then labels the same videos, pruned and unpruned.

Other programs on the machine make every prediction wrong. So it prints the cores that were left to
the calibration and to the run, and the prediction for the graph with the cores of the run: what
then remains is the error of the planner's model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.inputs.demo.archive import ArchiveSettings, make_archive
from pipeline.lab.benchmark.core_seconds import cpu_recorded

JOBS = Path(__file__).parents[2] / "jobs"
PROMISED = 0.25


@dataclass(frozen=True)
class Compared:
    """Seconds that were predicted and that were taken, of one run."""

    name: str
    predicted: float
    actual: float
    predicted_graph: float
    actual_graph: float
    predicted_cores: float
    actual_cores: float

    def line(self) -> str:
        """For people."""
        return (
            f"{self.name:<9} command {self.predicted:6.1f} s predicted, {self.actual:6.1f} s taken "
            f"({self.predicted / self.actual:.2f}); graph {self.predicted_graph:6.1f} s, "
            f"{self.actual_graph:6.1f} s ({self.predicted_graph / self.actual_graph:.2f}); cores "
            f"left {self.predicted_cores:.2f} to the calibration, {self.actual_cores:.2f} to the "
            f"run: by these {self.with_its_cores:.1f} s "
            f"({self.with_its_cores / self.actual_graph:.2f})"
        )

    @property
    def with_its_cores(self) -> float:
        """The graph's predicted seconds, had the calibration got the cores that the run got."""
        return self.predicted_graph * self.predicted_cores / self.actual_cores

    @property
    def is_within(self) -> bool:
        """Whether the prediction is within what is promised of the time taken."""
        return abs(self.predicted / self.actual - 1) <= PROMISED


def plan(archive: Path, folder: Path, *, seconds: float) -> dict[str, Any]:
    """The plan for labeling an archive here with the demonstration model."""
    path = folder / "plan.json"
    _call("plan.py", archive, "--checkpoint", "demo", "--seconds", seconds, "--json", path)
    return dict(json.loads(path.read_text()))


def take(archive: Path, output: Path, r: int) -> tuple[float, float, float]:
    """Labels the archive; seconds from the command's start to _SUCCESS, seconds of the graph, and
    the cores that other programs left meanwhile.
    """
    began = time.time()
    with cpu_recorded() as record:
        _call("label_k400.py", archive, output, "--checkpoint", "demo", "--r", r)
    taken = (output / "_SUCCESS").stat().st_mtime - began
    stages = json.loads((output / "run.json").read_text())["totals"]["stages"]
    used, idle = record.between(stages["decode"]["began"], stages["label"]["ended"])
    return taken, stages["wall_s"], (used + idle) / stages["wall_s"]


def _call(job: str, *arguments: object) -> None:
    command = [sys.executable, str(JOBS / job), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def compare(archive: Path, folder: Path, *, seconds: float) -> list[Compared]:
    """One calibration, and one run of each of its variants."""
    found = plan(archive, folder, seconds=seconds)
    compared = []
    for each in found["variants"]:
        taken, graph, cores = take(archive, folder / each["name"], each["r"])
        local, left = each["local_run"], found["machine"]["cores_left"]
        compared.append(
            Compared(each["name"], local["seconds"], taken, local["graph_s"], graph, left, cores)
        )
    return compared


def main() -> int:
    """0: every prediction was within what is promised; 1: one was not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each calibration")
    options = parser.parse_args()
    right = True
    with tempfile.TemporaryDirectory(prefix="plan-against-run-") as folder:
        archive = Path(folder) / "videos"
        make_archive(archive, ArchiveSettings(videos=options.videos), processes=os.cpu_count() or 1)
        for number in range(options.rounds):
            place = Path(folder) / f"round-{number}"
            place.mkdir()
            before = os.getloadavg()[0]
            for each in compare(archive, place, seconds=options.seconds):
                print(f"{each.line()}; load {before:.1f} to {os.getloadavg()[0]:.1f}", flush=True)
                right = right and each.is_within
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
