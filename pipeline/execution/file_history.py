"""The history of a run's files, kept on the driver's node, where the end of an actor spares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.file_history import FileCost, FileHistory

# An answer takes a millisecond. Without one, decoding goes on: it must not depend on the history.
_SECONDS = 30.0


@dataclass(frozen=True)
class SharedHistory:
    """A FileHistory in an actor of its own, which reserves no core.

    Attributes:
        actor: the actor.
    """

    actor: Any

    @classmethod
    def start(cls) -> SharedHistory:
        """A new one, on the node of the driver. Ray must run."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(num_cpus=0, scheduling_strategy=here)(FileHistory).remote())

    def begin(self, unit_id: str, file: str) -> FileCost:
        """As in workers.file_history.Files; waits for the answer."""
        try:
            cost = ray.get(self.actor.begin.remote(unit_id, file), timeout=_SECONDS)
        except ray.exceptions.RayError:
            return FileCost()
        assert isinstance(cost, FileCost)
        return cost

    def end(self, unit_id: str, file: str, cost: FileCost) -> None:
        """As in workers.file_history.Files; does not wait."""
        self.actor.end.remote(unit_id, file, cost)
