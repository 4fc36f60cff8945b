"""Kill parts of a running job at random moments, resume it, and check that every video has one row.

    python -m tests.faults.kill --rounds 20

Targets: the command; one of its two drivers (`graph`); a decoder's child process; a decode actor; a
label actor; a whole node of a Ray cluster. Every round prints its seed; `--seed` repeats it. A
round in which the job ended before the kill does not count. Compared with an undisturbed run of one
driver, to the bit: status, labels and scores of every video, and the kept-token maps of every view.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.faults.archive import make_archive, make_checkpoint
from tests.processes import descendants, kill

JOBS = Path(__file__).parents[2] / "jobs"
TARGETS = ("driver", "graph", "child", "decoder", "labeler", "node")
# How they show in command lines; Ray names its actors' processes after the graph's steps.
_SIGNS = {
    "graph": "ray::GraphDriver",
    "child": "workers.decoding.child",
    "decoder": "DecodeActor",
    "labeler": "LabelActor",
}
_MOST_STARTS = 6
_PATIENCE_S = 400.0


@dataclass(frozen=True)
class Scene:
    """What all rounds share: the archive, a checkpoint, and what an undisturbed run says."""

    archive: Path
    checkpoint: Path
    expected: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How a round ended; `problem` is None where every video came exactly once."""

    target: str
    seed: int
    kills: int
    starts: int
    problem: str | None

    def line(self) -> str:
        """In one line."""
        end = self.problem or "every video exactly once"
        return (
            f"{self.target:<9} seed {self.seed:<6} {self.kills} killed, {self.starts} starts: {end}"
        )


def make_scene(folder: Path, *, videos: int) -> Scene:
    """Makes the archive and labels it once, undisturbed."""
    archive = make_archive(folder / "archive", videos)
    checkpoint = make_checkpoint(folder)
    output = folder / "undisturbed"
    began = time.monotonic()
    done = subprocess.run(_command(archive, output, checkpoint), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the undisturbed run failed: {done.stderr}")
    return Scene(archive, checkpoint, _content(output), time.monotonic() - began)


def run_round(scene: Scene, target: str, seed: int, folder: Path) -> Outcome:
    """One output, some kills, the same command until it ends well, and the comparison."""
    draw = random.Random(seed)
    output = folder / f"{target}-{seed}"
    command = _command(scene.archive, output, scene.checkpoint)
    if target == "graph":
        command += ["--drivers", "2"]
    kills = starts = 0
    with _ray(target) as (environment, remove_node):
        while starts < _MOST_STARTS:
            starts += 1
            with tempfile.TemporaryFile("w+") as log:
                job = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                if kills == 0 or (target == "driver" and starts <= 3):
                    kills += _disturb(job, scene, output, target, draw, remove_node)
                code = _wait(job)
                log.seek(0)
                said = log.read()
            if code == 0 and _crashed(output):  # one video's decoder, killed at both its attempts
                command.append("--retry-failed")
                continue
            if code == 0:
                return Outcome(target, seed, kills, starts, _problem(scene, output))
            if target in ("child", "decoder", "labeler"):
                last = (said.splitlines() or [""])[-1]
                return Outcome(target, seed, kills, starts, f"the job ended with {code}: {last}")
    return Outcome(target, seed, kills, starts, "the command did not come to an end")


def _disturb(
    job: subprocess.Popen[str],
    scene: Scene,
    output: Path,
    target: str,
    draw: random.Random,
    remove_node: Callable[[random.Random], None],
) -> int:
    """Kills at random moments of the job; how often."""
    if target == "driver":
        _sleep(job, draw.uniform(0, scene.seconds))
        return int(job.poll() is None and kill(job.pid))
    if target == "node":
        _sleep_until(job, lambda: any(output.glob("units/*.parquet")))
        _sleep(job, draw.uniform(0, 4))
        if job.poll() is None:
            remove_node(draw)
            return 1
        return 0
    kills = 0
    for _ in range(draw.randint(1, 3)):
        _sleep_until(job, lambda: bool(_of_kind(job.pid, target)))
        _sleep(job, draw.uniform(0, 2))
        found = _of_kind(job.pid, target)
        kills += bool(found) and kill(draw.choice(found))
    return kills


def _of_kind(root: int, kind: str) -> list[int]:
    return sorted(pid for pid, line in descendants(root).items() if _SIGNS[kind] in line)


def _sleep(job: subprocess.Popen[str], seconds: float) -> None:
    until = time.monotonic() + seconds
    _sleep_until(job, lambda: time.monotonic() >= until)


def _sleep_until(job: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while job.poll() is None and not ready() and time.monotonic() < deadline:
        time.sleep(0.02)


def _wait(job: subprocess.Popen[str]) -> int:
    try:
        return job.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        job.kill()
        job.wait()
        return -1


def _command(archive: Path, output: Path, checkpoint: Path) -> list[str]:
    job = [sys.executable, str(JOBS / "label_k400.py"), str(archive), str(output)]
    actors = ["--decoders", "2", "--labelers", "2"]
    return [*job, "--checkpoint", str(checkpoint), "--views", "2x1", *actors]


@contextmanager
def _ray(target: str) -> Iterator[tuple[dict[str, str], Callable[[random.Random], None]]]:
    """(environment of the job, what takes a node away); a cluster of three nodes for `node`."""
    if target != "node":
        yield dict(os.environ), lambda draw: None
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    try:
        nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]

        def remove_node(draw: random.Random) -> None:
            cluster.remove_node(nodes.pop(draw.randrange(len(nodes))), allow_graceful=False)

        yield os.environ | {"RAY_ADDRESS": cluster.address}, remove_node
    finally:
        cluster.shutdown()


def _content(output: Path) -> list[dict[str, Any]]:
    """What another run must repeat to the bit: all but the times."""
    rows: list[dict[str, Any]] = []
    for table, changing in (("videos", ["decode_ms", "attempts", "bytes_read"]), ("clips", [])):
        read = pq.read_table(output / table, partitioning=None)
        read = read.drop_columns(["device_ms", *changing])
        rows += sorted(read.to_pylist(), key=repr)
    return rows


def _crashed(output: Path) -> bool:
    """Whether a finished run has a video that its decoder's death is blamed on."""
    videos = pq.read_table(output / "videos", partitioning=None, columns=["error_type"])
    return "crashed" in videos["error_type"].to_pylist()


def _problem(scene: Scene, output: Path) -> str | None:
    """What is wrong with a finished run; None if nothing is."""
    verify = [sys.executable, str(JOBS / "verify.py"), str(output)]
    checked = subprocess.run(verify, capture_output=True, text=True, check=False)
    if checked.returncode:
        wrong = [line for line in checked.stdout.splitlines() if line.startswith("FAIL")]
        return "; ".join(wrong) or checked.stderr
    if _content(output) != scene.expected:
        return "other labels or maps than the undisturbed run"
    left = [path for path in output.rglob(".*") if path.is_file()]
    return f"left behind: {left}" if left else None


def main() -> int:
    """0: every round ended with every video exactly once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="in all (default: %(default)s)")
    parser.add_argument("--videos", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; then +1")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    good = 0
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(Path(folder), videos=arguments.videos)
        print(f"undisturbed: {arguments.videos} videos in {scene.seconds:.0f} s", flush=True)
        done = 0
        while done < arguments.rounds:
            target = arguments.targets[done % len(arguments.targets)]
            outcome = run_round(scene, target, seed, Path(folder))
            print(outcome.line(), flush=True)
            good += outcome.problem is None and outcome.kills > 0
            done += outcome.problem is not None or outcome.kills > 0
            seed += 1
    print(f"{good} of {arguments.rounds} exactly once")
    return int(good < arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
