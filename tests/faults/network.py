"""Two hosts and a switch as network namespaces of this machine; needs root and iproute2."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """One namespace. ``port`` is the switch's end of its cable."""

    name: str
    address: str
    port: str
    switch: str

    def command(self, *arguments: object) -> list[str]:
        """``arguments`` as a command that runs on this host."""
        return ["ip", "netns", "exec", self.name, *map(str, arguments)]

    def plug(self, *, into_the_switch: bool) -> None:
        """Put the cable into the switch, or pull it out."""
        _ip("-n", self.switch, "link", "set", self.port, "up" if into_the_switch else "down")

    def processes(self) -> dict[int, str]:
        """Command line of every process on this host by its id."""
        found = {}
        for pid in _pids(self.name):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            found[pid] = line.replace(b"\0", b" ").decode(errors="replace").strip()
        return found


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts with addresses of a network of their own; at the end nothing of them is left.

    Each hangs on a switch, a third namespace, so that a pulled cable leaves both with their
    addresses, as between machines. No other interface margins out. Every process that still runs on
    a host at the end is killed, by its id. Raises SystemExit where this cannot work.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise SystemExit("this needs root and the command ip (Debian's iproute2)")
    mark = str(os.getpid())
    switch = f"sta-switch-{mark}"
    hosts = (
        Host(f"sta-a-{mark}", "10.77.0.1", "port-a", switch),
        Host(f"sta-b-{mark}", "10.77.0.2", "port-b", switch),
    )
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for host in hosts:
            _ip("netns", "add", host.name)
            _connect(host)
        yield hosts
    finally:
        for name in (*(host.name for host in hosts), switch):
            _remove(name)


def _connect(host: Host) -> None:
    end = ("type", "veth", "peer", "name", host.port, "netns", host.switch)
    _ip("link", "add", "eth0", "netns", host.name, *end)
    _ip("-n", host.switch, "link", "set", host.port, "master", "bridge")
    _ip("-n", host.switch, "link", "set", host.port, "up")
    _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.name, "link", "set", "lo", "up")
    _ip("-n", host.name, "link", "set", "eth0", "up")
    # Programs learn a host's own address by asking which one they would leave by. Nothing is at
    # the other end of this route.
    _ip("-n", host.name, "route", "add", "default", "via", "10.77.0.254")


def _remove(name: str) -> None:
    for _ in range(50):
        pids = _pids(name)
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


def _pids(name: str) -> list[int]:
    listed = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
