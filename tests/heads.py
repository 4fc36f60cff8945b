"""A Ray head on loopback, as `ray start` makes it, for jobs that join a cluster."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import eventually

# Written once the head serves; it lists where its metrics are.
METRICS_LIST = "prom_metrics_service_discovery.json"


@dataclass(frozen=True)
class Head:
    """A running head.

    Attributes:
        environment: by which a job joins it.
        folder: its files; sessions and logs of Ray.
    """

    environment: dict[str, str]
    folder: Path


@contextmanager
def running(command: list[str], log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process for as long as the block runs, and ends it by its id."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **settings)  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)


@contextmanager
def ray_head(log: Path, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Head]:
    """Starts a head with these flags of `ray start`, such as "--num-cpus=2", and ends it.

    Args:
        log: where what it prints goes.
        flags: beside those for its address and ports.
        environment: variables of the head and of jobs that join it.
    """
    port = free_port()
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)} | (environment or {})
    # Sockets have short names: a folder of pytest's is too deep for them.
    folder = Path("/tmp") / f"ray-{secrets.token_hex(4)}"
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"),
        *(f"--dashboard-port={free_port()}", "--disable-usage-stats", *flags),
    ]
    listed = folder / METRICS_LIST
    with running(command, log, env=os.environ | own):
        assert eventually(listed.exists, seconds=120), log.read_text()
        yield Head(os.environ | own | {"RAY_ADDRESS": f"127.0.0.1:{port}"}, folder)
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
