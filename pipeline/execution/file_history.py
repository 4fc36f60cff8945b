"""The history of a run's files, kept on the driver's node, where the end of an actor spares it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.file_history import FileCost, FileHistory

# An answer takes a millisecond. Without one, decoding goes on: it must not depend on the history.
_SECONDS = 30.0

# An actor answers for fewer units than a driver passes: `python -m tests.scale.graph_rows`.
_ACTORS_PER_DRIVER = 2


@dataclass(frozen=True)
class SharedHistory:
    """A FileHistory in actors of its own, which reserve no core.

    Every unit calls twice, and one process answers some thousand calls a second. So the files of a
    run with several drivers are divided among several actors.

    Attributes:
        actors: the actors; a file belongs to one of them.
    """

    actors: tuple[Any, ...]

    @classmethod
    def start(cls, *, drivers: int = 1) -> SharedHistory:
        """A new one for a run with so many drivers, on the node of the first. Ray must run."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        history = ray.remote(num_cpus=0, scheduling_strategy=here)(FileHistory)
        actors = 1 if drivers == 1 else _ACTORS_PER_DRIVER * drivers
        return cls(tuple(history.remote() for _ in range(actors)))

    def begin(self, unit_id: str, file: str) -> FileCost:
        """As in workers.file_history.Files; waits for the answer."""
        try:
            cost = ray.get(self._of(file).begin.remote(unit_id, file), timeout=_SECONDS)
        except ray.exceptions.RayError:
            return FileCost()
        assert isinstance(cost, FileCost)
        return cost

    def end(self, unit_id: str, file: str, cost: FileCost) -> None:
        """As in workers.file_history.Files; does not wait."""
        self._of(file).end.remote(unit_id, file, cost)

    def _of(self, file: str) -> Any:
        return self.actors[zlib.crc32(file.encode()) % len(self.actors)]
