"""What the processors of a cluster's machines can do."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.execution.node_roles import may_label
from workers.machine import has_bfloat16

# Starting a worker process takes a second or two; a machine that is this late counts as without.
_ANSWER_S = 60


def all_have_bfloat16() -> bool:
    """Whether every machine that labels on its processor has instructions for bfloat16.

    Machines that an autoscaler has not started yet are not asked; where there is none to ask, this
    one is.
    """
    own = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [node["NodeID"] for node in alive if may_label(node["Resources"])]
    if (own in nodes or not nodes) and not has_bfloat16():
        return False
    try:
        answers = ray.get([_asked(node) for node in nodes if node != own], timeout=_ANSWER_S)
    except (ray.exceptions.RayError, TimeoutError):  # a machine that went away, or hangs
        return False
    return all(answers)


def _asked(node: str) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(has_bfloat16).options(num_cpus=0, scheduling_strategy=there)
    return task.remote()
