"""Cut the network between two hosts during a labeling job, and check every row.

``python -m tests.faults.two_hosts [--cut-seconds 60] [--videos 80] [--seed 0]``. Needs root and
iproute2 (the command ``ip``) on Linux, and some minutes; it is no part of the test suite.

Two network namespaces are the hosts. One runs Ray's head and the job, the other a second node. Once
a part of the archive is labeled, the second host is disconnected for ``--cut-seconds``. The drill
restarts a node that has ended and a job that has failed, as an operator would. At the end it prints
what happened, and whether every unit has exactly one row: exit code 0 or 1. All processes, both
namespaces and all files are removed; ``--keep`` keeps the files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.network import Host, two_hosts
from tests.faults.nodes import (
    ROOT,
    Node,
    drill_folder,
    is_exactly_once,
    ray_nodes,
    wait_for_nodes,
    written_rows,
)
from tests.faults.opens import Opens
from tests.videos import write_video
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.sampling import protocol

CPUS = 3  # of each host, as Ray is told: four actors and the graph's own steps need both
MOST_RUNS = 6


@dataclass
class Drill:
    """One run of the drill: what was asked for, and what is known of it so far."""

    work: Path
    hosts: tuple[Host, Host]
    cut_seconds: float
    videos: int
    chance: random.Random
    began: float = field(default_factory=time.monotonic)
    codes: list[int] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        return self.work / "archive"

    @property
    def output(self) -> Path:
        return self.work / "output"

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def written(self) -> int:
        """Rows in the files of units that can be read by now."""
        return written_rows(self.output)


def make_archive(drill: Drill) -> None:
    """Videos that take some tenths of a second to decode, and a model of random weights.

    A transport stream is decoded from start to end, which keeps the decoders busy for about as long
    as the labelers. Five are made, and the others are their copies.
    """
    import torch

    import sta

    drill.archive.mkdir()
    made = [drill.archive / f"{number:04d}.ts" for number in range(5)]
    for path in made:
        frames = drill.chance.randint(150, 250)
        write_video(path, frames=frames, height=360, width=640, options={"preset": "ultrafast"})
    for number in range(len(made), drill.videos):
        shutil.copy(drill.chance.choice(made), drill.archive / f"{number:04d}.ts")
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=6)
    path = drill.work / "random.safetensors"
    sta.save_checkpoint(model, path, labels=list("abcdef"), origin="random weights")


def start_job(drill: Drill, head: Node) -> subprocess.Popen[bytes]:
    """The labeling job on the first host, its words in job.log."""
    arguments = [drill.archive, drill.output, "--checkpoint", drill.work / "random.safetensors"]
    arguments += ["--views", "4x1"]
    with open(drill.work / "job.log", "ab") as log:
        return subprocess.Popen(
            head.host.command(sys.executable, ROOT / "jobs" / "label_k400.py", *arguments),
            env=head.environment | {"RAY_ADDRESS": head.address},
            stdout=log, stderr=subprocess.STDOUT, cwd=drill.work,
        )  # fmt: skip


def run_job(drill: Drill, nodes: tuple[Node, Node], *, seconds: float) -> None:
    """Run the job until it ends well, and cut the network once, in the middle of it.

    A run that is not over after ``seconds`` is killed, which counts as a failed one.
    """
    head, other = nodes
    due = drill.chance.uniform(0.1, 0.5) * drill.videos
    mended: float | None = None
    cut = False
    while drill.codes[-1:] != [0] and len(drill.codes) < MOST_RUNS:
        job, started = start_job(drill, head), time.monotonic()
        drill.say(f"run {len(drill.codes) + 1} of the job started")
        while job.poll() is None:
            time.sleep(0.25)
            other.keep_up()
            if not cut and drill.written() >= due:
                cut = True
                cut_off(drill, nodes)
                mended = time.monotonic() + drill.cut_seconds
            if mended is not None and time.monotonic() >= mended:
                mended = None
                mend(drill, nodes)
            if time.monotonic() - started > seconds:
                drill.say(f"the job does not end; killed after {seconds:.0f} s")
                job.kill()
        drill.codes.append(job.returncode)
        drill.say(f"the job ended with {job.returncode}; {drill.written()} rows are written")
    if not cut:
        raise SystemExit("the job was over before the network could be cut; try more --videos")
    if mended is not None:
        mend(drill, nodes)


def cut_off(drill: Drill, nodes: tuple[Node, Node]) -> None:
    """Pull the second host's cable."""
    tell(drill, nodes)
    drill.hosts[1].plug(into_the_switch=False)
    drill.say(
        f"cut for {drill.cut_seconds:g} s with {drill.written()} of {drill.videos} rows written"
    )


def mend(drill: Drill, nodes: tuple[Node, Node]) -> None:
    """Plug it in again."""
    tell(drill, nodes)
    drill.hosts[1].plug(into_the_switch=True)
    drill.say(f"mended with {drill.written()} rows written")


def tell(drill: Drill, nodes: tuple[Node, Node]) -> None:
    for name, node in zip(("first", "second"), nodes, strict=True):
        drill.say(f"{name} host: {node.actors()}; Ray was started {node.starts} times")


def opens_of_one_decode(archive: Path, opens: Opens) -> int:
    """How often decoding opens a file of this archive."""
    path = min(archive.iterdir())
    os.environ["PYTHONPATH"] = str(opens.hook)
    with SandboxedDecoder(protocol("videomae-k400", size=112)) as decoder:
        assert isinstance(decoder.decode(Unit("u", "v", str(path))), DecodedUnit)
    return opens.take()[path.name]


def drill_once(arguments: argparse.Namespace, work: Path) -> bool:
    with ExitStack() as stack:
        hosts = stack.enter_context(two_hosts())
        chance = random.Random(arguments.seed)
        drill = Drill(work, hosts, arguments.cut_seconds, arguments.videos, chance)
        make_archive(drill)
        drill.say(f"an archive of {drill.videos} videos is made")
        opens = Opens(drill.archive, work / "hook")
        once = opens_of_one_decode(drill.archive, opens)
        told = ["--num-cpus", str(CPUS), "--num-gpus", "0"]
        path = os.pathsep.join([str(ROOT), str(opens.hook)])
        head = [*told, "--include-dashboard", "false"]
        nodes = ray_nodes(work, hosts, environment={"PYTHONPATH": path}, head=head, other=told)
        wait_for_nodes(nodes)
        drill.say("Ray runs on both hosts")
        run_job(drill, nodes, seconds=arguments.job_seconds)
        decodes = Counter(round(count / once) for count in opens.take().values())
    tell(drill, nodes)
    again = sum(videos for times, videos in decodes.items() if times > 1)
    print(f"runs of the job until exit 0: {len(drill.codes)} (exit codes {drill.codes})")
    print(f"videos decoded more than once: {again} of {drill.videos}; by times: {dict(decodes)}")
    whole = is_exactly_once(drill.output, drill.videos)
    print("exactly once" if whole and drill.codes[-1] == 0 else "NOT exactly once")
    return whole and drill.codes[-1] == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cut-seconds", type=float, default=60, help="default: %(default)s")
    parser.add_argument("--videos", type=int, default=80, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of lengths and of the cut's moment")
    parser.add_argument(
        "--job-seconds",
        type=float,
        default=600,
        help="a run of the job that takes longer is killed",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy output and logs there")
    arguments = parser.parse_args()
    with drill_folder("two-", keep=arguments.keep, videos="archive") as work:
        return 0 if drill_once(arguments, work) else 1


if __name__ == "__main__":
    sys.exit(main())
