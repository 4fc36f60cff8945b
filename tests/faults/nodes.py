"""Ray on two hosts of `tests.faults.network`, and whether a job there left every row once."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.network import Host

ROOT = Path(__file__).resolve().parents[2]
_PORT = 6379
_SIGNS = {"decoders": "workers.decoding.child", "labelers": "LabelActor)"}


@dataclass
class Node:
    """Ray on one host, started again whenever it has ended."""

    host: Host
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Where a driver finds the cluster, if this is its head."""
        return f"{self.host.address}:{_PORT}"

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

    def kill(self) -> None:
        """End every process of the host at once, as a machine that goes without a word."""
        for pid in self.host.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def ask_to_end(self) -> None:
        """Tell Ray to end, as Kubernetes tells a pod whose machine goes."""
        if self._process is not None:
            self._process.terminate()

    def is_up(self) -> bool:
        """Whether Ray's own process runs."""
        return self._process is not None and self._process.poll() is None

    def actors(self) -> str:
        """Which actors run here, such as "2 decoders, 1 labelers"."""
        lines = self.host.processes().values()
        counts = {kind: sum(sign in line for line in lines) for kind, sign in _SIGNS.items()}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def ray_nodes(
    work: Path,
    hosts: tuple[Host, Host],
    *,
    environment: dict[str, str],
    head: list[str],
    other: list[str],
) -> tuple[Node, Node]:
    """Ray's head on the first host, which is started, and a node on the second, which is not.

    Both have a token that was made for them. ``head`` and ``other`` go to ``ray start``, and
    ``environment`` to both; the logs are WORK/a.log and WORK/b.log.
    """
    token = secrets.token_hex(32)
    nodes = []
    for host, told in zip(hosts, (head, other), strict=True):
        temporary = work / host.name[4]
        temporary.mkdir()
        settings = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_TMPDIR": str(temporary),
            "RAY_USAGE_STATS_ENABLED": "0",
            **environment,
        }
        settings.pop("RAY_ADDRESS", None)
        common = ["--node-ip-address", host.address, "--disable-usage-stats"]
        common += ["--temp-dir", str(temporary)]  # else the head's: hosts share no disk for this
        common += ["--object-store-memory", str(300 * 1024**2)]
        nodes.append(Node(host, common + told, settings, work / f"{temporary.name}.log"))
    first, second = nodes
    first.arguments += ["--head", "--port", str(_PORT)]
    second.arguments += ["--address", first.address]
    first.keep_up()
    return first, second


def wait_for_nodes(nodes: tuple[Node, Node]) -> None:
    """Return when Ray has both nodes; the second one is started again until the head answers."""
    head, other = nodes
    program = (
        "import ray; ray.init(log_to_driver=False);"
        "raise SystemExit(sum(n['Alive'] for n in ray.nodes()) != 2)"
    )
    environment = head.environment | {"RAY_ADDRESS": head.address}
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


@contextmanager
def drill_folder(prefix: str, *, keep: Path | None, videos: str) -> Iterator[Path]:
    """A folder of a drill's own, gone when the block ends, by SIGTERM too.

    Args:
        prefix: what its name begins with; short, since sockets lie in it.
        keep: where all but sockets and videos is copied to at the end; None for nowhere.
        videos: name of the folder of videos.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield work
    finally:
        try:
            if keep is not None:
                left_out = shutil.ignore_patterns("sockets", videos)
                shutil.copytree(work, keep, dirs_exist_ok=True, symlinks=True, ignore=left_out)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def written_rows(output: Path) -> int:
    """Rows in the files of units that can be read by now."""
    return sum(table.num_rows for table in _tables(output / "units"))


def is_exactly_once(output: Path, videos: int) -> bool:
    """Whether every unit has one row, by the job's own checks and by a count of our own."""
    checked = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "verify.py"), str(output)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(checked.stdout + checked.stderr, end="")
    units, listed = (
        Counter(i for t in _tables(output / name) for i in t["unit_id"].to_pylist())
        for name in ("units", "manifest")
    )
    several = [unit for unit, count in units.items() if count > 1]
    missing = listed.keys() - units.keys()
    print(f"units with one row: {sum(c == 1 for c in units.values())} of {len(listed)};", end=" ")
    print(f"with several: {len(several)}; without: {len(missing)}")
    return checked.returncode == 0 and not several and not missing and len(listed) == videos


def _tables(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("*.parquet")):
        with contextlib.suppress(pa.ArrowException, OSError):  # one that is just being written
            yield pq.ParquetFile(path).read(columns=["unit_id"])
