"""Submit a night twice, as a schedule would, and take the working machine away in between.

``python -m tests.faults.submitted [--end kill|drain] [--videos 60]``. Needs root and iproute2 (the
command ``ip``) on Linux, and some minutes; it is no part of the test suite.

Two network namespaces are the hosts; a token protects the cluster. Ray's head on the first host
offers no cores, as in infra/kuberay; all work is done on the second, which declares GPUs that exist
for Ray's scheduler alone. ``infra/submit.sh`` submits the night. During the run the second host is
removed: at once (``kill``), or with a notice (``drain``: SIGTERM, as a spot machine's pod gets it);
some seconds later another host replaces it. The drill submits the night again while it runs, after
it, and with another token, and expects each to be refused. Exit code 0: all went as described, and
every video has exactly one row.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.run.devices import STAND_IN
from tests.faults.archive import make_archive, make_checkpoint
from tests.faults.network import two_hosts
from tests.faults.nodes import (
    ROOT,
    Node,
    drill_folder,
    is_exactly_once,
    ray_nodes,
    wait_for_nodes,
    written_rows,
)

NIGHT = "2026-11-25"
CPUS, GPUS = 6, 2
DRAIN_S = 15
_DASHBOARD_PORT = 8265
_FLAGS = ("--views", "4x1", "--max-cpus", str(CPUS), "--max-gpus", str(GPUS), "--decoders", "4")


@dataclass
class Drill:
    """One run of the drill, and what did not come as it must."""

    work: Path
    videos: int
    began: float = field(default_factory=time.monotonic)
    problems: list[str] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.work / "labels" / NIGHT

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def expect(self, holds: bool, what: str) -> None:
        """Say whether what must be is so."""
        self.say(f"{'as it must' if holds else 'NOT SO'}: {what}")
        if not holds:
            self.problems.append(what)


def start_nodes(drill: Drill, stack: ExitStack) -> tuple[Node, Node]:
    """A head without cores, from which jobs can be submitted, and a machine that does the work."""
    hosts = stack.enter_context(two_hosts())
    environment = {
        "PYTHONPATH": "",  # the code must come with the job
        STAND_IN: "cpu",  # its GPUs are for Ray's scheduler
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(DRAIN_S),
    }
    head = ["--num-cpus", "0", "--num-gpus", "0", "--dashboard-host", hosts[0].address]
    head += ["--dashboard-port", str(_DASHBOARD_PORT)]
    other = ["--num-cpus", str(CPUS), "--num-gpus", str(GPUS)]
    nodes = ray_nodes(drill.work, hosts, environment=environment, head=head, other=other)
    wait_for_nodes(nodes)
    return nodes


def submission(drill: Drill, head: Node, **environment: str) -> subprocess.Popen[str]:
    """The night's command, as the schedule gives it, on the first host."""
    videos, labels, checkpoint = (
        drill.work / n for n in ("videos", "labels", "random.safetensors")
    )
    command = [ROOT / "infra" / "submit.sh", NIGHT, videos, labels, "--checkpoint", checkpoint]
    address = {"RAY_API_SERVER_ADDRESS": f"http://{head.host.address}:{_DASHBOARD_PORT}"}
    return subprocess.Popen(
        head.host.command(*command, *_FLAGS),
        env=head.environment | address | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def expect_refused(drill: Drill, head: Node, when: str) -> None:
    """The same night once more is refused, by its name."""
    again = submission(drill, head)
    said, _ = again.communicate(timeout=120)
    refused = again.returncode != 0 and f"label-k400-{NIGHT} already exists" in said
    drill.expect(refused, f"the same night {when} is refused (exit code {again.returncode})")


def take_away(drill: Drill, other: Node, *, end: str, gone_s: float) -> None:
    """End the working host, wait, and start another in its place."""
    drill.say(f"{written_rows(drill.output)} rows are written; {other.actors()} at work; {end}")
    began = time.monotonic()
    if end == "drain":
        other.ask_to_end()
        while other.is_up() and time.monotonic() - began < 4 * DRAIN_S:
            time.sleep(0.25)
        rows = written_rows(drill.output)
        drill.say(f"it ended after {time.monotonic() - began:.0f} s; {rows} rows are written")
    other.kill()
    time.sleep(gone_s)
    other.keep_up()
    drill.say("another machine stands in its place")


def run_night(drill: Drill, nodes: tuple[Node, Node], *, end: str, gone_s: float) -> None:
    """Submit the night, disturb it in the middle, and wait for its end."""
    head, other = nodes
    job = submission(drill, head)
    drill.say("the night is submitted")
    while job.poll() is None and written_rows(drill.output) < drill.videos // 4:
        time.sleep(0.5)
    drill.expect(job.poll() is None, "it is at work when it is disturbed")
    expect_refused(drill, head, "while it runs")
    take_away(drill, other, end=end, gone_s=gone_s)
    said, _ = job.communicate(timeout=900)
    drill.expect(job.returncode == 0, f"it ends with exit code {job.returncode}")
    print("\n".join(f"    | {line}" for line in said.strip().splitlines()[-14:]))


def resubmit(drill: Drill, head: Node) -> None:
    """What may, and what may not, be submitted when the night is over."""
    expect_refused(drill, head, "when it is over")
    second = submission(drill, head, ATTEMPT="2")
    said, _ = second.communicate(timeout=300)
    nothing = second.returncode == 0 and "is complete; nothing to do" in said
    drill.expect(nothing, f"a second attempt finds it complete (exit code {second.returncode})")
    stranger = submission(drill, head, ATTEMPT="3", RAY_AUTH_TOKEN="0" * 64)
    said, _ = stranger.communicate(timeout=120)
    refused = stranger.returncode != 0 and "token" in said.lower()
    drill.expect(refused, f"another token is refused (exit code {stranger.returncode})")


def drill_once(arguments: argparse.Namespace, work: Path) -> bool:
    drill = Drill(work, arguments.videos)
    make_archive(work / "videos" / NIGHT, arguments.videos)
    make_checkpoint(work)
    with ExitStack() as stack:
        nodes = start_nodes(drill, stack)
        drill.say("Ray runs on both hosts")
        run_night(drill, nodes, end=arguments.end, gone_s=arguments.gone_seconds)
        resubmit(drill, nodes[0])
    drill.expect(is_exactly_once(drill.output, arguments.videos), "every video exactly once")
    return not drill.problems


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--end", choices=("kill", "drain"), default="kill", help="%(default)s")
    parser.add_argument("--gone-seconds", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--videos", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy labels and logs there")
    arguments = parser.parse_args()
    with drill_folder("night-", keep=arguments.keep, videos="videos") as work:
        return 0 if drill_once(arguments, work) else 1


if __name__ == "__main__":
    sys.exit(main())
