"""What the cluster has to give: as it is, or as large as it can grow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import ray


@dataclass(frozen=True)
class Cluster:
    """What Ray may hand out.

    Attributes:
        cpus: cores.
        gpus: GPUs.
        memory: bytes; unlimited where the machines are not there yet.
        nodes: machines.
    """

    cpus: float
    gpus: float
    memory: float
    nodes: int


def cluster_for(*, max_cpus: int | None, max_gpus: int | None) -> Cluster:
    """The cluster as it is; of one that grows on demand, what the user says it can grow to.

    Ray's autoscaler brings machines for actors that wait for them. So pools that are sized by what
    there can be are what makes the cluster grow, from no machine at all if need be.
    """
    resources = ray.cluster_resources()
    present = Cluster(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory=resources.get("memory", 0.0),
        nodes=len([node for node in ray.nodes() if node["Alive"]]),
    )
    return grown(present, max_cpus=max_cpus, max_gpus=max_gpus)


def grown(present: Cluster, *, max_cpus: int | None, max_gpus: int | None) -> Cluster:
    """`present` with as many cores and GPUs as it can have at the most, None for no more."""
    if max_cpus is None and max_gpus is None:
        return present
    return Cluster(
        cpus=max(present.cpus, max_cpus or 0),
        gpus=max(present.gpus, max_gpus or 0),
        memory=math.inf,
        nodes=present.nodes,
    )
