"""What each start of a run was given, and for how long: what a cluster is paid for.

The rows tell what the work took. What was reserved meanwhile, busy or not, stands in run.json.
"""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path
from typing import Any

import ray

from pipeline.ray_session import real_cores
from pipeline.resources import Pools
from pipeline.run_directory import now

STARTS = "starts"
DEVICE = "device"

_ACCELERATOR = "accelerator_type:"


def begin_start(content: dict[str, Any], pools: Pools, began: str) -> None:
    """Adds a start, which has not ended, to run.json's content; Ray is running.

    A start that is killed never gets an end: its last row tells when it was at work.
    """
    device = describe_device()
    content[DEVICE] = device
    start = {"began": began, "ended": None} | {name: device[name] for name in _COUNTED}
    content.setdefault(STARTS, []).append(start | _pools(pools))


def change_pools(content: dict[str, Any], pools: Pools) -> None:
    """Says of the present start that its pools have other sizes."""
    content[STARTS][-1] |= _pools(pools)


def note_growth(content: dict[str, Any]) -> None:
    """Says of the present start how large its cluster is, if that grew since the start began."""
    device, start = describe_device(), content[STARTS][-1]
    for known in (content[DEVICE], start):
        known |= {name: max(known[name], device[name]) for name in _COUNTED}
    if device["gpu"] is not None:
        content[DEVICE]["gpu"] = device["gpu"]


def end_start(content: dict[str, Any]) -> None:
    """Says of the present start that it ends now, if there is one."""
    if content.get(STARTS):
        content[STARTS][-1]["ended"] = now()


def describe_device() -> dict[str, Any]:
    """The cluster as it is: `gpu` as Ray names the most frequent kind, None without any, `cpu` of
    the machine that the driver runs on, and the number of cpus, gpus and nodes.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    kinds = Counter(
        name.removeprefix(_ACCELERATOR)
        for node in nodes
        for name in node
        if name.startswith(_ACCELERATOR) and node.get("GPU")
    )
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    return {
        "gpu": (kinds.most_common(1)[0][0] if kinds else "GPU") if gpus else None,
        "cpu": cpu_model(),
        "cpus": real_cores(sum(node.get("CPU", 0.0) for node in nodes)),
        "gpus": gpus,
        "nodes": len(nodes),
    }


_COUNTED = ("cpus", "gpus", "nodes")


def cpu_model() -> str:
    """Name of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _pools(pools: Pools) -> dict[str, Any]:
    return {
        "decoders": pools.decoders[1],
        "decoder_cpus": pools.decoder_cpus,
        "labellers": pools.labellers,
        # What a labeller without a GPU computes on, which is more than it reserves.
        "labeller_cpus": pools.labeller_threads or pools.labeller_cpus,
        "labeller_gpus": pools.labeller_gpus,
    }
