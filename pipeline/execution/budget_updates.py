"""Lets Ray Data's scheduler compute the budgets of its operators now and then, not at every step.

Ray Data computes what each operator uses and may use before and after every task that it submits,
which is a fifth of a driver's CPU time (`python -m tests.scale.graph_rows --rounds 1`), and a
driver's CPU time limits a run with many GPUs. Budgets that are a tenth of a second old serve as
well: in that time a driver submits some tasks, which wait for their cores, and reads some blocks, a
small part of any object store.
"""

from __future__ import annotations

import time

from ray.data._internal.execution.resource_manager import ResourceManager

SECONDS = 0.1

_update = ResourceManager.update_usages


def update_budgets_now_and_then() -> None:
    """Makes it so for all graphs that this process runs; a second call changes nothing."""
    ResourceManager.update_usages = _update_if_old


def _update_if_old(manager: ResourceManager) -> None:
    if time.monotonic() >= getattr(manager, "_update_due", 0.0):
        _update(manager)
        manager._update_due = time.monotonic() + SECONDS
