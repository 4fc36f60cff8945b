"""Cut the network between two hosts in the middle of a labelling job, and check every row.

``python -m tests.faults.two_hosts [--cut-seconds 60] [--videos 80] [--seed 0]``. Needs root and
iproute2 (the command ``ip``) on Linux, and some minutes; it is no part of the test suite.

Two network namespaces are the hosts. One runs Ray's head and the job, the other a second node. As
soon as a part of the archive is labelled, the second host's cable is pulled for so many seconds.
Whoever runs a cluster starts a node again that has ended, and a job that has failed; so does this.
At the end it says what happened, and whether every unit has its row exactly once: exit code 0 or 1.
All processes, both namespaces and all files are removed, but for those of ``--keep``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.network import Host, two_hosts
from tests.faults.opens import Opens
from tests.videos import write_video
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.sampling import protocol

ROOT = Path(__file__).resolve().parents[2]
CPUS = 3  # of each host, as Ray is told: four actors and the graph's own steps need both
PORT = 6379
MOST_RUNS = 6
_SIGNS = {"decoders": "workers.decoding.child", "labellers": "LabelActor)"}


@dataclass
class Node:
    """Ray on one host, started again whenever it has ended."""

    host: Host
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def keep_up(self) -> None:
        """Start Ray unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self.starts += 1
        command = self.host.command(sys.executable, "-m", "ray.scripts.scripts", "start")
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*command, *self.arguments, "--block"],
                env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def actors(self) -> str:
        """Which actors run here, such as "2 decoders, 1 labellers"."""
        lines = self.host.processes().values()
        counts = {kind: sum(sign in line for line in lines) for kind, sign in _SIGNS.items()}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items())


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
        return sum(table.num_rows for table in _tables(self.output / "units"))


def _tables(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("*.parquet")):
        with contextlib.suppress(pa.ArrowException, OSError):  # one that is just being written
            yield pq.ParquetFile(path).read(columns=["unit_id"])


def make_archive(drill: Drill) -> None:
    """Videos that take some tenths of a second to decode, and a model of random weights.

    A transport stream is decoded from start to end, which keeps the decoders busy for about as long
    as the labellers. Five are made, and the others are their copies.
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


@contextmanager
def ray_nodes(drill: Drill, hook: Path) -> Iterator[tuple[Node, Node]]:
    """Ray's head on the first host and a node on the second, both with a token of this drill's."""
    token = secrets.token_hex(32)
    nodes = []
    for host in drill.hosts:
        temporary = drill.work / host.name[4]
        temporary.mkdir()
        environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_TMPDIR": str(temporary),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(hook)]),
        }
        environment.pop("RAY_ADDRESS", None)
        common = ["--node-ip-address", host.address, "--num-cpus", str(CPUS), "--num-gpus", "0"]
        common += ["--object-store-memory", str(300 * 1024**2), "--disable-usage-stats"]
        nodes.append(Node(host, common, environment, drill.work / f"{temporary.name}.log"))
    head, other = nodes
    head.arguments += ["--head", "--port", str(PORT), "--include-dashboard", "false"]
    other.arguments += ["--address", f"{head.host.address}:{PORT}"]
    head.keep_up()
    yield head, other


def wait_for_nodes(drill: Drill, nodes: tuple[Node, Node]) -> None:
    """Return when Ray has both nodes; the second one is started again until the head answers."""
    head, other = nodes
    program = (
        "import ray; ray.init(log_to_driver=False);"
        "raise SystemExit(sum(n['Alive'] for n in ray.nodes()) != 2)"
    )
    environment = head.environment | {"RAY_ADDRESS": f"{head.host.address}:{PORT}"}
    for _ in range(40):
        time.sleep(3)
        other.keep_up()
        asked = subprocess.run(
            head.host.command(sys.executable, "-c", program),
            env=environment, capture_output=True, check=False,
        )  # fmt: skip
        if asked.returncode == 0:
            return
    said = f"{head.log.read_text()[-2000:]}\n{other.log.read_text()[-2000:]}"
    raise SystemExit(f"Ray did not come up on both hosts:\n{said}")


def start_job(drill: Drill, head: Node) -> subprocess.Popen[bytes]:
    """The labelling job on the first host, its words in job.log."""
    arguments = [drill.archive, drill.output, "--checkpoint", drill.work / "random.safetensors"]
    arguments += ["--views", "4x1"]
    with open(drill.work / "job.log", "ab") as log:
        return subprocess.Popen(
            head.host.command(sys.executable, ROOT / "jobs" / "label_k400.py", *arguments),
            env=head.environment | {"RAY_ADDRESS": f"{head.host.address}:{PORT}"},
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


def judge(drill: Drill) -> bool:
    """Whether every unit has one row, by the job's own checks and by a count of our own."""
    checked = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "verify.py"), str(drill.output)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(checked.stdout + checked.stderr, end="")
    units, videos = (
        Counter(i for t in _tables(drill.output / name) for i in t[column].to_pylist())
        for name, column in (("units", "unit_id"), ("manifest", "unit_id"))
    )
    several = [unit for unit, count in units.items() if count > 1]
    missing = videos.keys() - units.keys()
    print(f"units with one row: {sum(c == 1 for c in units.values())} of {len(videos)};", end=" ")
    print(f"with several: {len(several)}; without: {len(missing)}")
    return checked.returncode == 0 and not several and not missing and len(videos) == drill.videos


def drill_once(arguments: argparse.Namespace, work: Path) -> bool:
    with ExitStack() as stack:
        hosts = stack.enter_context(two_hosts())
        chance = random.Random(arguments.seed)
        drill = Drill(work, hosts, arguments.cut_seconds, arguments.videos, chance)
        make_archive(drill)
        drill.say(f"an archive of {drill.videos} videos is made")
        opens = Opens(drill.archive, work / "hook")
        once = opens_of_one_decode(drill.archive, opens)
        nodes = stack.enter_context(ray_nodes(drill, opens.hook))
        wait_for_nodes(drill, nodes)
        drill.say("Ray runs on both hosts")
        run_job(drill, nodes, seconds=arguments.job_seconds)
        decodes = Counter(round(count / once) for count in opens.take().values())
    tell(drill, nodes)
    again = sum(videos for times, videos in decodes.items() if times > 1)
    print(f"runs of the job until exit 0: {len(drill.codes)} (exit codes {drill.codes})")
    print(f"videos decoded more than once: {again} of {drill.videos}; by times: {dict(decodes)}")
    whole = judge(drill)
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Path(tempfile.mkdtemp(prefix="two-"))
    try:
        return 0 if drill_once(arguments, work) else 1
    finally:
        if arguments.keep is not None:
            shutil.copytree(
                work, arguments.keep, dirs_exist_ok=True, symlinks=True,
                ignore=shutil.ignore_patterns("sockets", "archive"),
            )  # fmt: skip
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
