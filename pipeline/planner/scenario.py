"""Scenario of a simulated run: pools, cores, limits and delays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from pipeline.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Limits that more machines do not raise; None for no limit.

    Attributes:
        storage_bytes_per_s: bandwidth of the storage for all decoders together.
        storage_requests_per_s: requests per second that the storage answers.
        rows_per_s: units per second that a driver passes through the graph; in a scenario, all
            drivers together.
        commits_per_s: result files per second that are written and confirmed.
    """

    storage_bytes_per_s: float | None = None
    storage_requests_per_s: float | None = None
    rows_per_s: float | None = None
    commits_per_s: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not value > 0:
                raise UsageError(f"the limit {each.name} must be above 0; got {value}")


@dataclass(frozen=True)
class Scenario:
    """Pools of a simulated run and what they share.

    Attributes:
        decoders: decode actors.
        labelers: label actors.
        cores: of all machines, for decoders and for labelers on CPUs.
        labeler_threads: cores that a labeler keeps busy; None where it has a GPU.
        nodes: machines over which the actors are spread.
        decode_rows: units of one task of a decoder.
        label_rows: units of one call of a labeler.
        commit_rows: units of one file of results.
        buffer_units: decoded units that may wait for a labeler.
        requests_per_unit: storage requests per unit.
        decoder_start_s: from the start of the graph to a decoder's first task.
        labeler_start_s: the same of a labeler, model load and compilation included.
        replacement_s: from the loss of a machine to its replacement.
        preemptions_per_node_hour: machines lost per machine and hour.
        longest_first: whether the largest units go first, as in a run's manifest.
        sorted_units: units per manifest file, within which they are sorted.
        drivers: number of drivers.
        limits: of storage, drivers and commits.
    """

    decoders: int
    labelers: int
    cores: float
    labeler_threads: int | None = None
    nodes: int = 1
    decode_rows: int = 1
    label_rows: int = 1
    commit_rows: int = 1
    buffer_units: int = 64
    requests_per_unit: float = 1.0
    decoder_start_s: float = 0.0
    labeler_start_s: float = 0.0
    replacement_s: float = 120.0
    preemptions_per_node_hour: float = 0.0
    longest_first: bool = True
    sorted_units: int = 100_000
    drivers: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        whole = (
            "decoders",
            "labelers",
            "nodes",
            "decode_rows",
            "label_rows",
            "commit_rows",
            "sorted_units",
            "drivers",
        )
        for name in whole:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")
        if not self.cores > 0:
            raise ValueError(f"cores must be above 0; got {self.cores}")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{each.name} must be 0 or more; got {value}")
