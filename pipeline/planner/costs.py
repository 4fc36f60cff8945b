"""What units cost, as it was measured, and what the tasks of a simulated run cost by that."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.planner.setting import Setting

Floats = npt.NDArray[np.float64]

# So many tasks per actor tell the end of a run to a few percent; more cost only time.
_TASKS_PER_ACTOR = 24
_FEWEST_TASKS = 20_000


@dataclass(frozen=True)
class Costs:
    """Units that were measured, one per place of the arrays, all float64 of shape (n,).

    Attributes:
        size: bytes of the file, by which the manifest is sorted.
        bytes_read: bytes read from storage.
        decode_cpu_s: CPU time of fetching, decoding and resizing.
        decode_wait_s: time of it in which no CPU was used, as for storage.
        label_s: device time of labeling; without a GPU CPU time.
    """

    size: Floats
    bytes_read: Floats
    decode_cpu_s: Floats
    decode_wait_s: Floats
    label_s: Floats

    def __post_init__(self) -> None:
        shapes = {each.name: np.shape(getattr(self, each.name)) for each in fields(self)}
        if len(set(shapes.values())) != 1 or len(self.size.shape) != 1 or not len(self.size):
            raise ValueError(f"costs are arrays of one length, 1 or more; got {shapes}")

    def mean(self, name: str) -> float:
        """Mean of one of the arrays."""
        return float(getattr(self, name).mean())


@dataclass(frozen=True)
class Tasks:
    """Tasks of a run in the order in which decoders take them, one per place.

    Attributes:
        units_per_task: units of each, but for the last.
        units: int64 (tasks,).
        bytes_read, decode_cpu_s, decode_wait_s, label_s: float64 (tasks,) sums over the units.
    """

    units_per_task: int
    units: npt.NDArray[np.int64]
    bytes_read: Floats
    decode_cpu_s: Floats
    decode_wait_s: Floats
    label_s: Floats


def units_per_task(units: int, setting: Setting) -> int:
    """Units that are simulated as one: those of a decoder's task, or several tasks' where a run is
    so large that its actors have many tasks each anyway.
    """
    rows = setting.decode_rows
    most = max(_FEWEST_TASKS, _TASKS_PER_ACTOR * (setting.decoders + setting.labelers))
    return rows * max(1, -(-units // (rows * most)))


def tasks_of(costs: Costs, units: int, setting: Setting, random: np.random.Generator) -> Tasks:
    """Tasks of `units` units drawn from the measured ones with equal chances.

    How often each measured unit is drawn is one multinomial draw, so nothing is held per unit: in
    the order of sizes the units of a task are neighbors, and its sums are differences of one
    running sum. A manifest is sorted file by file. In no order these tasks come in a random
    sequence.
    """
    size = units_per_task(units, setting)
    ends = [*range(0, units, setting.sorted_units), units]
    parts = [_sorted_tasks(costs, end - begin, size, random) for begin, end in pairwise(ends)]
    sums = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not setting.longest_first:
        places = random.permutation(len(sums["units"]))
        sums = {name: values[places] for name, values in sums.items()}
    return Tasks(size, sums.pop("units").astype(np.int64), **sums)


def _sorted_tasks(
    costs: Costs, units: int, size: int, random: np.random.Generator
) -> dict[str, Floats]:
    """Units and sums of the tasks of `size` units of one sorted part of a manifest."""
    edges = np.append(np.arange(0, units, size), units)
    chances = np.full(len(costs.size), 1 / len(costs.size))
    counts = random.multinomial(units, chances)
    order = np.argsort(-costs.size, kind="stable")
    names = ("bytes_read", "decode_cpu_s", "decode_wait_s", "label_s")
    sums = {name: _sums(getattr(costs, name)[order], counts[order], edges) for name in names}
    return sums | {"units": np.diff(edges).astype(np.float64)}


def _sums(values: Floats, counts: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> Floats:
    """Sums between `edges` over a sequence in which each value stands `counts` times."""
    places = np.concatenate([[0], np.cumsum(counts)])
    running = np.concatenate([[0.0], np.cumsum(values * counts)])
    used = np.concatenate([[True], counts > 0])  # np.interp asks for ascending places
    return np.asarray(np.diff(np.interp(edges, places[used], running[used])))
