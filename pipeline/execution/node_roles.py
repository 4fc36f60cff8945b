"""Ray resources that keep decoders and what writes the output on nodes of their own.

A cluster that gives decoders and labelers different credentials offers the resource "decode" on
nodes that may read the input, and "label" on nodes that may write the output; infra/kuberay does
so. With the environment variable STA_NODE_ROLES set, decode actors ask for the first, and label
actors and the tasks that write for the second. Elsewhere actors run where cores are free.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

VARIABLE = "STA_NODE_ROLES"

# A node offers 1000 of its role, so that this limits nothing but the choice of the node.
_SHARE = 0.001


def may_label(resources: Mapping[str, float]) -> bool:
    """Whether labelers on CPUs may run on a node with these resources."""
    return resources.get("CPU", 0) > 0 and (not os.environ.get(VARIABLE) or "label" in resources)


def on_nodes_of(role: Literal["decode", "label"]) -> dict[str, Any]:
    """Arguments for Ray that let an actor or task run on nodes of a role alone."""
    return {"resources": {role: _SHARE}} if os.environ.get(VARIABLE) else {}
