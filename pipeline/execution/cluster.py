"""Resources of the cluster: present ones, or those that an autoscaler can add."""

from __future__ import annotations

import math
from dataclasses import dataclass

import ray


@dataclass(frozen=True)
class Cluster:
    """Resources that Ray can assign.

    Attributes:
        cpus: cores.
        gpus: GPUs.
        memory: bytes; infinite if the machines are not started yet.
        nodes: machines.
    """

    cpus: float
    gpus: float
    memory: float
    nodes: int


def cluster_for(*, max_cpus: int | None, max_gpus: int | None) -> Cluster:
    """The present cluster, or its largest size if it grows on demand.

    Ray's autoscaler starts machines for actors that wait for resources. Pools sized for the largest
    cluster therefore make it grow, even from no machine at all.

    Args:
        max_cpus: cores that the cluster can grow to; None if it does not grow.
        max_gpus: GPUs that the cluster can grow to; None if it does not grow.
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
    """`present` grown to these numbers of cores and GPUs; None leaves a number as it is."""
    if max_cpus is None and max_gpus is None:
        return present
    return Cluster(
        cpus=max(present.cpus, max_cpus or 0),
        gpus=max(present.gpus, max_gpus or 0),
        memory=math.inf,
        nodes=present.nodes,
    )
