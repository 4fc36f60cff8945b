"""Measured rates of an archive, a model and a machine, from a calibration or a finished run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from pipeline.planner.unit_costs import Floats, UnitCosts

PRUNED = "pruned"
UNPRUNED = "unpruned"

# Lower bound of the seconds of a unit: plans divide by times.
MIN_UNIT_S = 1e-3


@dataclass(frozen=True)
class Machine:
    """The machine that was measured.

    Attributes:
        name: of its GPU, else of its CPU.
        cpus: its cores.
        cores_left: cores that other programs left free during the measurement.
        memory: bytes that Ray would give to actors.
        gpus: its GPUs; 0 where labelers run on CPUs.
    """

    name: str
    cpus: int
    cores_left: float
    memory: float
    gpus: int


@dataclass(frozen=True)
class LabelingRate:
    """How fast pruned or unpruned labeling is.

    Attributes:
        name: PRUNED or UNPRUNED.
        r: tokens pruned per frame at the first stage.
        unit_s: device time of one unit; CPU time without a GPU.
        start_s: from the start of a labeler's process to its first call.
        known_from: source of `unit_s`.
    """

    name: str
    r: int
    unit_s: float
    start_s: float
    known_from: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit_s", max(MIN_UNIT_S, self.unit_s))


@dataclass(frozen=True)
class DecodeCosts:
    """Decode costs of n units; all arrays are float64 of shape (n,).

    Attributes:
        size: bytes of the video.
        bytes_read: bytes read from storage.
        cpu_s: CPU time of fetching, decoding and resizing, the actor's own included.
        wait_s: waiting time of decoding, such as for storage.
        video_s: seconds of video.
        failed: failures by reason; the arrays hold decoded units only.
    """

    size: Floats
    bytes_read: Floats
    cpu_s: Floats
    wait_s: Floats
    video_s: Floats
    failed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cpu_s", np.maximum(MIN_UNIT_S, self.cpu_s))

    @property
    def seconds(self) -> float:
        """Mean seconds of a decoder per unit."""
        return float((self.cpu_s + self.wait_s).mean())

    @property
    def cores(self) -> float:
        """Cores that a busy decoder uses."""
        return float(min(1.0, max(0.05, self.cpu_s.mean() / max(1e-9, self.seconds))))


@dataclass(frozen=True)
class MeasuredRates:
    """All measured rates.

    Attributes:
        decoded: costs of decoding the sample.
        labelings: pruned and unpruned, or one of them.
        threads: CPU threads of a labeler; None on a GPU.
        label_shares: float64 (n,) labeling time of each unit over the mean; ones where all units
            have the same number of views.
        machine: on which they were measured.
        started_s: seconds to start a process with the program's libraries.
        known_from: what was measured, in words.
    """

    decoded: DecodeCosts
    labelings: tuple[LabelingRate, ...]
    threads: int | None
    label_shares: Floats
    machine: Machine
    started_s: float
    known_from: str

    def costs(self, labeling: LabelingRate) -> UnitCosts:
        """Unit costs from which a simulated run draws."""
        return UnitCosts(
            size=self.decoded.size,
            bytes_read=self.decoded.bytes_read,
            decode_cpu_s=self.decoded.cpu_s,
            decode_wait_s=self.decoded.wait_s,
            label_s=labeling.unit_s * self.label_shares,
        )

    def with_shadow(self, share: float) -> MeasuredRates:
        """The same for runs with a shadow sample of this share; unpruned runs have none."""
        dense = next(each.unit_s for each in self.labelings if each.name == UNPRUNED)
        more = {PRUNED: share * dense, UNPRUNED: 0.0}
        labelings = (
            dataclasses.replace(each, unit_s=each.unit_s + more[each.name])
            for each in self.labelings
        )
        return dataclasses.replace(self, labelings=tuple(labelings))

    @property
    def unit_video_s(self) -> float:
        """Mean seconds of video in a unit."""
        return float(np.mean(self.decoded.video_s))


@dataclass(frozen=True)
class Workload:
    """What to label.

    Attributes:
        videos: how many.
        units: of these videos.
        video_s: seconds of video.
        bytes: of all files; 0 where sizes are unknown.
        known_from: source of these numbers, in words.
    """

    videos: int
    units: int
    video_s: float
    bytes: float
    known_from: str
