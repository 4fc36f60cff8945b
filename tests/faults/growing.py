"""Label on a cluster that starts without workers, and check that it grows and shrinks.

``python -m tests.faults.growing [--videos 40]``. Needs root and iproute2 (the command ``ip``) on
Linux, and some minutes; it is no part of the test suite.

Ray's own autoscaler starts the machines, as on Kubernetes, with the node provider that Ray has for
tests: nodes on this machine with the cores and GPUs that the configuration names. The head has
neither. The command names what the cluster can grow to. Exit code 0: both groups grew from nothing,
every video has exactly one row, and the machines were released.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from pipeline.run.devices import STAND_IN
from tests.faults.archive import make_archive, make_checkpoint
from tests.faults.machines import Machines
from tests.faults.network import two_hosts
from tests.faults.nodes import ROOT, Node, drill_folder, is_exactly_once, ray_nodes

IDLE_MINUTES = 0.3
JOB_S = 600
_GIB = 1024**3
_HEAD = "ray.head.default"  # the name that the kind of machines asks for
_GROUPS = {
    "decode": {"max_workers": 2, "resources": {"CPU": 3, "memory": 4 * _GIB}},
    "label": {"max_workers": 2, "resources": {"CPU": 1, "GPU": 1, "memory": 6 * _GIB}},
}
_STEPS = (
    *("initialization", "setup", "head_setup", "worker_setup"),
    *("head_start_ray", "worker_start_ray"),
)
_FLAGS = ("--views", "4x1", "--max-cpus", "8", "--max-gpus", "2", "--decoders", "5")
_COUNT = """\
import json, ray
ray.init(log_to_driver=False, logging_level="error")
print("nodes", json.dumps([n["Resources"] for n in ray.nodes() if n["Alive"]]))
"""


def configuration() -> dict[str, object]:
    """What Ray's autoscaler is told."""
    node_types = {
        name: group | {"min_workers": 0, "node_config": {}} for name, group in _GROUPS.items()
    }
    for group in node_types.values():
        group["resources"] = group["resources"] | {"object_store_memory": 200 * 1024**2}
    node_types[_HEAD] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    return {
        "cluster_name": "growing",
        "max_workers": sum(group["max_workers"] for group in _GROUPS.values()),
        "upscaling_speed": 10,
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": {
            # Not by Ray's name for these: its wheels lack the file of defaults that goes with it.
            "type": "external",
            "module": f"{Machines.__module__}.{Machines.__qualname__}",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
        },
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{f"{step}_commands": [] for step in _STEPS},
        "head_node_type": _HEAD,
        "available_node_types": node_types,
    }


def machines(head: Node) -> Counter[str] | None:
    """How many there are of each group, the head apart; None while it does not answer."""
    asked = subprocess.run(
        head.host.command(sys.executable, "-c", _COUNT),
        env=head.environment | {"RAY_ADDRESS": head.address}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    # Ray's autoscaler says its part in between.
    said = [line for line in asked.stdout.splitlines() if line.startswith("nodes ")]
    if asked.returncode or not said:
        return None
    resources = [found for found in json.loads(said[0].removeprefix("nodes ")) if found.get("CPU")]
    return Counter("label" if found.get("GPU") else "decode" for found in resources)


def start_head(work: Path, stack: ExitStack) -> Node:
    """Ray's head with its autoscaler, on a host of its own."""
    (work / "autoscaling.json").write_text(json.dumps(configuration()))
    environment = {
        "PYTHONPATH": str(ROOT),
        STAND_IN: "cpu",  # its GPUs are for Ray's scheduler
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }
    told = ["--num-cpus", "0", "--num-gpus", "0", "--include-dashboard", "false"]
    told += ["--autoscaling-config", str(work / "autoscaling.json")]
    hosts = stack.enter_context(two_hosts())
    head, _ = ray_nodes(work, hosts, environment=environment, head=told, other=[])
    for _ in range(20):
        time.sleep(3)
        if machines(head) is not None:
            return head
    raise SystemExit(f"Ray did not come up:\n{head.log.read_text()[-2000:]}")


def label(work: Path, head: Node, say: Callable[[str], None]) -> tuple[int, Counter[str]]:
    """The job's exit code, and the most machines that there were of each group meanwhile."""
    command = [ROOT / "jobs" / "label_k400.py", work / "videos", work / "output", *_FLAGS]
    with open(work / "job.log", "wb") as log:
        job = subprocess.Popen(
            head.host.command(sys.executable, *command, "--checkpoint", make_checkpoint(work)),
            env=head.environment | {"RAY_ADDRESS": head.address}, cwd=work,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    most: Counter[str] = Counter()
    deadline = time.monotonic() + JOB_S
    while job.poll() is None and time.monotonic() < deadline:
        time.sleep(4)
        grown = most | (machines(head) or Counter())
        if grown != most:
            say(f"grown to {dict(grown)}")
        most = grown
    job.kill()
    job.wait()
    print("\n".join(f"    | {line}" for line in (work / "job.log").read_text().splitlines()[-12:]))
    return job.returncode, most


def run(work: Path, stack: ExitStack) -> list[str]:
    """Run the job once; what did not come as it must."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    head = start_head(work, stack)
    problems = ["there were machines before the job"] if machines(head) else []
    say(f"Ray runs; machines: {dict(machines(head) or {})}")
    code, most = label(work, head, say)
    say(f"the job ended with {code}")
    problems += [f"{name} never grew" for name in _GROUPS if not most[name]]
    problems += ["the job did not end well"] if code else []
    ended = time.monotonic()
    while machines(head) and time.monotonic() - ended < 60 * IDLE_MINUTES + 60:
        time.sleep(4)
    left = machines(head)
    say(f"{time.monotonic() - ended:.0f} s later there are {dict(left or {})}")
    return problems + (["machines did not go back"] if left else [])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy labels and logs there")
    arguments = parser.parse_args()
    with drill_folder("grow-", keep=arguments.keep, videos="videos") as work:
        make_archive(work / "videos", arguments.videos)
        with ExitStack() as stack:
            problems = run(work, stack)
        if not is_exactly_once(work / "output", arguments.videos):
            problems.append("not every video exactly once")
        print("as it must be" if not problems else f"NOT SO: {'; '.join(problems)}")
        return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
