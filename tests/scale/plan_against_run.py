"""What the planner predicts for a run on this machine, and what that run then takes.

    python -m tests.scale.plan_against_run --videos 200 --rounds 3
    python -m tests.scale.plan_against_run --videos 200 --early-exit early-exit.json

Each round calibrates, predicts the time from the command's start to _SUCCESS and that of the graph
alone (run.json's totals.stages.wall_s), and then labels the same videos, pruned and unpruned; with
an early-exit file of jobs/calibrate.py for the demo model, with early exit too. The second line of
each is the work itself: core-seconds of decoding and labeling a video, and evaluated views.

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
from pipeline.planner.rates import EARLY_EXIT

JOBS = Path(__file__).parents[2] / "jobs"
PROMISED = 0.25


@dataclass(frozen=True)
class Work:
    """What a video takes: core-seconds of decoding and of labeling, and evaluated views."""

    decode_s: float
    label_s: float
    views: float

    def against(self, actual: Work) -> str:
        """Predicted and taken, for people."""
        named = (("decoding", "decode_s"), ("labeling", "label_s"), ("views", "views"))
        return "; ".join(
            f"{name} {getattr(self, each):.3g} predicted, {getattr(actual, each):.3g} taken "
            f"({getattr(self, each) / getattr(actual, each):.2f})"
            for name, each in named
        )


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
    predicted_work: Work
    actual_work: Work

    def line(self) -> str:
        """For people."""
        return (
            f"{self.name:<9} command {self.predicted:6.1f} s predicted, {self.actual:6.1f} s taken "
            f"({self.predicted / self.actual:.2f}); graph {self.predicted_graph:6.1f} s, "
            f"{self.actual_graph:6.1f} s ({self.predicted_graph / self.actual_graph:.2f}); cores "
            f"left {self.predicted_cores:.2f} to the calibration, {self.actual_cores:.2f} to the "
            f"run: by these {self.with_its_cores:.1f} s "
            f"({self.with_its_cores / self.actual_graph:.2f})\n"
            f"{'':<9} of a video: {self.predicted_work.against(self.actual_work)}"
        )

    @property
    def with_its_cores(self) -> float:
        """The graph's predicted seconds, had the calibration got the cores that the run got."""
        return self.predicted_graph * self.predicted_cores / self.actual_cores

    @property
    def is_within(self) -> bool:
        """Whether the prediction is within what is promised of the time taken."""
        return abs(self.predicted / self.actual - 1) <= PROMISED


def plan(archive: Path, folder: Path, early_exit: list[str], *, seconds: float) -> dict[str, Any]:
    """The plan for labeling an archive here with the demonstration model."""
    path = folder / "plan.json"
    flags = ["--checkpoint", "demo", "--seconds", seconds, "--json", path, *early_exit]
    _call("plan.py", archive, *flags)
    return dict(json.loads(path.read_text()))


def take(archive: Path, output: Path, flags: list[str]) -> tuple[float, float, float, Work]:
    """Labels the archive; seconds from the command's start to _SUCCESS, seconds of the graph, the
    cores that other programs left meanwhile, and what a video took.
    """
    began = time.time()
    with cpu_recorded() as record:
        _call("label_k400.py", archive, output, "--checkpoint", "demo", *flags)
    taken = (output / "_SUCCESS").stat().st_mtime - began
    totals = json.loads((output / "run.json").read_text())["totals"]
    stages, videos = totals["stages"], totals["videos"]
    used, idle, _ = record.between(stages["decode"]["began"], stages["label"]["ended"])
    work = Work(
        decode_s=stages["decode"]["cpu_s"] / videos,
        label_s=stages["label"]["cpu_s"] / videos,
        views=totals["clips"] / videos,
    )
    return taken, stages["wall_s"], (used + idle) / stages["wall_s"], work


def _call(job: str, *arguments: object) -> None:
    command = [sys.executable, str(JOBS / job), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def compare(
    archive: Path, folder: Path, early_exit: list[str], *, seconds: float
) -> list[Compared]:
    """One calibration, and one run of each of its variants."""
    found = plan(archive, folder, early_exit, seconds=seconds)
    compared = []
    for each in found["variants"]:
        flags = ["--r", str(each["r"]), *(early_exit if each["name"] == EARLY_EXIT else [])]
        output = folder / each["name"].replace(" ", "-")
        taken, graph, cores, work = take(archive, output, flags)
        local, left = each["local_run"], found["machine"]["cores_left"]
        compared.append(
            Compared(
                each["name"],
                *(local["seconds"], taken, local["graph_s"], graph, left, cores),
                Work(each["decoder"]["cpu_s"], each["unit_s"], each["views"]),
                work,
            )
        )
    return compared


def main() -> int:
    """0: every prediction was within what is promised; 1: one was not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each calibration")
    parser.add_argument("--early-exit", help="early-exit file for the demo model")
    options = parser.parse_args()
    early_exit = ["--early-exit", options.early_exit] if options.early_exit else []
    right = True
    with tempfile.TemporaryDirectory(prefix="plan-against-run-") as folder:
        archive = Path(folder) / "videos"
        make_archive(archive, ArchiveSettings(videos=options.videos), processes=os.cpu_count() or 1)
        for number in range(options.rounds):
            place = Path(folder) / f"round-{number}"
            place.mkdir()
            before = os.getloadavg()[0]
            for each in compare(archive, place, early_exit, seconds=options.seconds):
                print(f"{each.line()}; load {before:.1f} to {os.getloadavg()[0]:.1f}", flush=True)
                right = right and each.is_within
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
