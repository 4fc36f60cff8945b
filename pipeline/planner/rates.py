"""What was measured of an archive, a model and a machine, from a calibration or from a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from pipeline.planner.costs import Costs, Floats

PRUNED = "pruned"
UNPRUNED = "unpruned"

# Seconds that a unit takes at the least, whatever the clocks said: plans divide by times.
LEAST_S = 1e-3


@dataclass(frozen=True)
class Machine:
    """The machine that was measured.

    Attributes:
        name: of its GPU, or of its CPU.
        cpus: its cores.
        cores_left: cores that other programs left when it was measured.
        memory: bytes of it that Ray would hand out to actors.
        gpus: its GPUs; 0 where labelers run on CPUs.
    """

    name: str
    cpus: int
    cores_left: float
    memory: float
    gpus: int


@dataclass(frozen=True)
class Labeling:
    """One way of labeling.

    Attributes:
        name: PRUNED or UNPRUNED.
        r: tokens dropped per frame at the first stage.
        unit_s: device time of one unit; without a GPU CPU time.
        start_s: from the start of a process until its labeler works.
        known_from: where `unit_s` comes from.
    """

    name: str
    r: int
    unit_s: float
    start_s: float
    known_from: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit_s", max(LEAST_S, self.unit_s))


@dataclass(frozen=True)
class Decoded:
    """Units that were decoded, one per place of the float64 arrays of shape (n,).

    Attributes:
        size: bytes of the video.
        bytes_read: bytes read from storage.
        cpu_s: CPU time of fetching, decoding and resizing, the actor's own included.
        wait_s: time of it without CPU time.
        video_s: seconds of video.
        failed: failures by reason; failed units have no place in the arrays.
    """

    size: Floats
    bytes_read: Floats
    cpu_s: Floats
    wait_s: Floats
    video_s: Floats
    failed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cpu_s", np.maximum(LEAST_S, self.cpu_s))

    @property
    def seconds(self) -> float:
        """Mean time that a decoder takes for a unit."""
        return float((self.cpu_s + self.wait_s).mean())

    @property
    def cores(self) -> float:
        """Cores that a busy decoder uses."""
        return float(min(1.0, max(0.05, self.cpu_s.mean() / max(1e-9, self.seconds))))


@dataclass(frozen=True)
class Rates:
    """All that was measured.

    Attributes:
        decoded: the sample.
        labelings: the pruned and the unpruned one, or one of them.
        threads: CPU threads of a labeler; None on a GPU.
        label_shares: float64 (n,) each unit's part of labeling over the mean; ones where all
            units have as many views.
        machine: where that was.
        started_s: what starting a process with the program's libraries takes there.
        known_from: what was measured, in words.
    """

    decoded: Decoded
    labelings: tuple[Labeling, ...]
    threads: int | None
    label_shares: Floats
    machine: Machine
    started_s: float
    known_from: str

    def costs(self, labeling: Labeling) -> Costs:
        """What a simulated run draws its units from."""
        return Costs(
            size=self.decoded.size,
            bytes_read=self.decoded.bytes_read,
            decode_cpu_s=self.decoded.cpu_s,
            decode_wait_s=self.decoded.wait_s,
            label_s=labeling.unit_s * self.label_shares,
        )

    def with_shadow(self, share: float) -> Rates:
        """The same of runs that label this share of the units without pruning too; an unpruned
        run has no such sample.
        """
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
class Work:
    """What is to be labeled.

    Attributes:
        videos: how many.
        units: units of work in them.
        video_s: seconds of video.
        bytes: of all files; 0 where sizes are not known.
        known_from: how that was found out, in words.
    """

    videos: int
    units: int
    video_s: float
    bytes: float
    known_from: str
