"""Measured costs of units, and the tasks of a simulated run drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.planner.scenario import Scenario

Floats = npt.NDArray[np.float64]

# This many tasks per actor give the duration to a few percent; more only take time.
_TASKS_PER_ACTOR = 24
_MIN_TASKS = 20_000


@dataclass(frozen=True)
class UnitCosts:
    """Costs of n measured units; all arrays are float64 of shape (n,).

    Attributes:
        size: bytes of the file, by which the manifest is sorted.
        bytes_read: bytes read from storage.
        decode_cpu_s: CPU time of fetching, decoding and resizing.
        decode_wait_s: waiting time of decoding, such as for storage.
        label_s: device time of labeling; CPU time without a GPU.
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
    """Tasks of a run, in the order in which decoders take them.

    Attributes:
        units_per_task: units of each but the last.
        units: int64 (tasks,).
        bytes_read, decode_cpu_s, decode_wait_s, label_s: float64 (tasks,) sums over the units.
    """

    units_per_task: int
    units: npt.NDArray[np.int64]
    bytes_read: Floats
    decode_cpu_s: Floats
    decode_wait_s: Floats
    label_s: Floats


def units_per_task(units: int, scenario: Scenario) -> int:
    """Units that are simulated as one: those of a decoder task, or of several tasks in a run so
    large that each actor has many tasks anyway.
    """
    rows = scenario.decode_rows
    most = max(_MIN_TASKS, _TASKS_PER_ACTOR * (scenario.decoders + scenario.labelers))
    return rows * max(1, -(-units // (rows * most)))


def tasks_of(
    costs: UnitCosts, units: int, scenario: Scenario, random: np.random.Generator
) -> Tasks:
    """Tasks of `units` units drawn uniformly from the measured ones.

    One multinomial draw gives how often each measured unit occurs, so memory does not grow with
    `units`: sorted by size, the units of a task are neighbors, and its sums are differences of one
    running sum. A manifest is sorted file by file. Without `longest_first` the tasks are shuffled.
    """
    size = units_per_task(units, scenario)
    ends = [*range(0, units, scenario.sorted_units), units]
    parts = [_sorted_tasks(costs, end - begin, size, random) for begin, end in pairwise(ends)]
    sums = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not scenario.longest_first:
        order = random.permutation(len(sums["units"]))
        sums = {name: values[order] for name, values in sums.items()}
    return Tasks(size, sums.pop("units").astype(np.int64), **sums)


def _sorted_tasks(
    costs: UnitCosts, units: int, size: int, random: np.random.Generator
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
    """Sums between `edges` of a sequence in which each value occurs `counts` times."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    running = np.concatenate([[0.0], np.cumsum(values * counts)])
    used = np.concatenate([[True], counts > 0])  # np.interp needs ascending x
    return np.asarray(np.diff(np.interp(edges, ends[used], running[used])))
