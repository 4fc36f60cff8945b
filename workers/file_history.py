"""What each file of a run has cost so far: ended processes, time-outs, CPU seconds.

A file that ends its decoder is given up after three times. The count must outlive the actor, which
the file may end too: Ray starts another and gives it the same units. So a `FileHistory` is kept by
the driver of the run, and actors ask it before every unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from workers.decoding import DecodedUnit, DecodeLimits, Measured, Unit
from workers.decoding.types import VIDEO_BYTES_A_SECOND
from workers.failures import ErrorType, UnitFailure

STRIKES = 3

# CPU seconds that a recording may take: as many time limits of one unit, seconds for each segment,
# and the time to decode its bytes at VIDEO_BYTES_A_SECOND.
RECORDING_ATTEMPTS = 10
SEGMENT_SECONDS = 2.0

_ENDED = (ErrorType.crashed, ErrorType.timeout, ErrorType.out_of_memory)


@dataclass(frozen=True)
class FileCost:
    """What a file has cost.

    ``ended``: times that it ended its decoder or its actor. ``slow``: times that it took longer
    than a first, short attempt may. ``units``, ``cpu_s``: units that were tried, and their CPU
    seconds; counted for segments of recordings alone.
    """

    ended: int = 0
    slow: int = 0
    units: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: FileCost) -> FileCost:
        return FileCost(
            self.ended + other.ended,
            self.slow + other.slow,
            self.units + other.units,
            self.cpu_s + other.cpu_s,
        )

    @classmethod
    def of(
        cls, unit: Unit, outcome: DecodedUnit | Measured | UnitFailure, *, quick: bool
    ) -> FileCost:
        """What one unit has cost; ``quick`` as in DecodeLimits."""
        reason = outcome.error_type if isinstance(outcome, UnitFailure) else None
        late = quick and reason is ErrorType.timeout
        failed = reason in _ENDED
        repeated = 0 if isinstance(outcome, Measured) else max(0, outcome.attempts - 1)
        cost = cls(ended=repeated + (failed and not late), slow=int(late))
        if unit.start_s is None and unit.end_s is None:
            return cost
        return replace(cost, units=1, cpu_s=outcome.decode_ms / 1000)

    def refusal(self, limits: DecodeLimits, size_bytes: int | None) -> UnitFailure | None:
        """Why no further unit of a file of ``size_bytes`` is tried; None where one may be."""
        if self.ended >= STRIKES:
            return UnitFailure(
                ErrorType.crashed,
                f"the file has ended its decoder or its actor {self.ended} times in this run, and "
                "is not tried again",
            )
        if limits.quick and self.slow >= STRIKES:
            return UnitFailure(
                ErrorType.deferred,
                f"{self.slow} segments of the recording took too long; the others are decoded at "
                "the end of the run",
            )
        if size_bytes is None:
            return None
        most_s = RECORDING_ATTEMPTS * limits.seconds + size_bytes / VIDEO_BYTES_A_SECOND
        most_s += self.units * SEGMENT_SECONDS
        if self.cpu_s > most_s:
            return UnitFailure(
                ErrorType.too_large,
                f"{self.units:,} segments of the recording took {self.cpu_s:,.0f} CPU seconds; the "
                f"limit for {size_bytes:,} bytes is {most_s:,.0f}, and --decode-timeout raises it",
            )
        return None


class Files(Protocol):
    """What an actor asks before and tells after every unit: a FileHistory, near or far."""

    def begin(self, unit_id: str, file: str) -> FileCost:
        """The cost of the file so far; a unit of it is tried now."""

    def end(self, unit_id: str, file: str, cost: FileCost) -> None:
        """The unit has ended, and cost so much."""


class FileHistory:
    """The costs of the files of a run; holds nothing of files that gave no trouble.

    A unit that begins for a second time without having ended has ended the actor that tried it.
    """

    def __init__(self) -> None:
        self._costs: dict[str, FileCost] = {}
        self._open: set[str] = set()

    def begin(self, unit_id: str, file: str) -> FileCost:
        """As in Files."""
        if unit_id in self._open:
            self._add(file, FileCost(ended=1))
        self._open.add(unit_id)
        return self._costs.get(file, FileCost())

    def end(self, unit_id: str, file: str, cost: FileCost) -> None:
        """As in Files."""
        self._open.discard(unit_id)
        if cost != FileCost():
            self._add(file, cost)

    def _add(self, file: str, cost: FileCost) -> None:
        self._costs[file] = self._costs.get(file, FileCost()) + cost
