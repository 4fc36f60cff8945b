"""What each attempt of a run was given, and for how long: what a cluster is paid for.

The rows tell what the work took. What was reserved meanwhile, busy or not, stands in run.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from pipeline.execution.pools import Pools
from pipeline.execution.ray_session import real_cores
from pipeline.run.devices import DEVICES, devices_of
from pipeline.run.run_directory import now
from workers.device_names import cpu_model

ATTEMPTS = "attempts"
DEVICE = "device"


def begin_attempt(content: dict[str, Any], pools: Pools, began: str) -> None:
    """Adds an attempt, which has not ended, to run.json's content; Ray is running.

    An attempt that is killed never gets an end: its last row tells when it was at work.
    """
    device = describe_cluster()
    content[DEVICE] = device | {"labelers": devices_of(content)}
    attempt = {"began": began, "ended": None} | {name: device[name] for name in _COUNTED}
    content.setdefault(ATTEMPTS, []).append(attempt | {DEVICES: []} | _pools(pools))


def note_devices(content: dict[str, Any], names: Sequence[str]) -> bool:
    """Says of the present attempt what its labelers compute on; whether that was not known yet."""
    attempt = content[ATTEMPTS][-1]
    known = sorted({*attempt[DEVICES], *names})
    if known == attempt[DEVICES]:
        return False
    attempt[DEVICES] = known
    content[DEVICE]["labelers"] = devices_of(content)
    return True


def note_progress(content: dict[str, Any], *, units: int) -> None:
    """Says of the present attempt how many units had a row when it began."""
    content[ATTEMPTS][-1]["units_before"] = units


def change_pools(content: dict[str, Any], pools: Pools) -> None:
    """Says of the present attempt that its pools have other sizes."""
    content[ATTEMPTS][-1] |= _pools(pools)


def note_growth(content: dict[str, Any]) -> None:
    """Says of the present attempt how large its cluster is, if it grew meanwhile."""
    device, attempt = describe_cluster(), content[ATTEMPTS][-1]
    for known in (content[DEVICE], attempt):
        known |= {name: max(known[name], device[name]) for name in _COUNTED}


def end_attempt(content: dict[str, Any]) -> None:
    """Says of the present attempt that it ends now, if there is one."""
    if content.get(ATTEMPTS):
        content[ATTEMPTS][-1]["ended"] = now()


def describe_cluster() -> dict[str, Any]:
    """The cluster as it is: the number of cpus, gpus and nodes, and `cpu` of the machine that the
    driver runs on. What labelers compute on is theirs to say.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return {
        "cpu": cpu_model(),
        "cpus": real_cores(sum(node.get("CPU", 0.0) for node in nodes)),
        "gpus": sum(node.get("GPU", 0.0) for node in nodes),
        "nodes": len(nodes),
    }


_COUNTED = ("cpus", "gpus", "nodes")


def _pools(pools: Pools) -> dict[str, Any]:
    return {
        "decoders": pools.decoders[1],
        "decoder_cpus": pools.decoder_cpus,
        "labelers": pools.labelers,
        # What a labeler without a GPU computes on, which is more than it reserves.
        "labeler_cpus": pools.labeler_threads or pools.labeler_cpus,
        "labeler_gpus": pools.labeler_gpus,
    }
