"""Measured rates of an archive, a model and a machine, from a calibration or a finished run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from pipeline.planner.unit_costs import Floats, UnitCosts

PRUNED = "pruned"
UNPRUNED = "unpruned"
EARLY_EXIT = "early exit"

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
class LabelingRate:
    """Costs of a unit in one way of labeling.

    Attributes:
        name: PRUNED or UNPRUNED, by all views; or EARLY_EXIT.
        r: tokens pruned per frame at the first stage.
        unit_s: device time of one unit; CPU time without a GPU.
        start_s: from the start of a labeler's process to its first call.
        known_from: source of `unit_s`.
        decoded: costs of decoding the sample in this way.
        views: evaluated views of a unit, on average.
        label_shares: float64 (n,) labeling time of each decoded unit over the mean; None where all
            are alike.
    """

    name: str
    r: int
    unit_s: float
    start_s: float
    known_from: str
    decoded: DecodeCosts
    views: float
    label_shares: Floats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit_s", max(MIN_UNIT_S, self.unit_s))

    @property
    def adaptive(self) -> bool:
        """Whether the views of a unit are not known in advance."""
        return self.name == EARLY_EXIT

    @property
    def costs(self) -> UnitCosts:
        """Unit costs from which a simulated run draws."""
        alike = np.ones(len(self.decoded.size))
        return UnitCosts(
            size=self.decoded.size,
            bytes_read=self.decoded.bytes_read,
            decode_cpu_s=self.decoded.cpu_s,
            decode_wait_s=self.decoded.wait_s,
            label_s=self.unit_s * (alike if self.label_shares is None else self.label_shares),
        )


@dataclass(frozen=True)
class MeasuredRates:
    """All measured rates.

    Attributes:
        labelings: one or more ways of labeling, the cheapest first.
        unpruned_s: device time of a unit by all views of the unpruned model.
        threads: CPU threads of a labeler; None on a GPU.
        machine: on which they were measured.
        started_s: seconds to start a process with the program's libraries.
        known_from: what was measured, in words.
    """

    labelings: tuple[LabelingRate, ...]
    unpruned_s: float
    threads: int | None
    machine: Machine
    started_s: float
    known_from: str

    def with_shadow(self, share: float) -> MeasuredRates:
        """The same for runs with a shadow sample of this share; unpruned runs have none."""
        labelings = (
            each
            if each.name == UNPRUNED
            else dataclasses.replace(each, unit_s=each.unit_s + share * self.unpruned_s)
            for each in self.labelings
        )
        return dataclasses.replace(self, labelings=tuple(labelings))

    @property
    def unit_video_s(self) -> float:
        """Mean seconds of video in a unit."""
        return float(np.mean(self.labelings[0].decoded.video_s))


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
