"""What an actor did and what it cost, told to whoever listens.

It knows nothing of Ray. Decoding in a child process and waiting for storage both count as work of
a decoder; what is left of its time it waits for rows to decode, or for room for what it decoded.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

DECODE = "decode"
LABEL = "label"

_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class WorkReport:
    """What one actor did since it last said so.

    Attributes:
        stage: DECODE or LABEL.
        actor: which actor, by a name of its own.
        began: when the first of it began, seconds since the epoch.
        ended: when the last of it ended.
        busy_s: wall clock within the actor's own work.
        cpu_s: CPU time of its process and of its decoder's child, whatever it went into.
        units: rows.
        views: views labeled; 0 of a decoder.
        slots: places of the forward passes that these views took, padding included.
        device: what a labeler computes on, by name; "" of a decoder.
    """

    stage: str
    actor: str
    began: float
    ended: float
    busy_s: float
    cpu_s: float
    units: int
    views: int = 0
    slots: int = 0
    device: str = ""


Listener = Callable[[WorkReport], None]


class Clock:
    """Adds up one actor's work between two reports."""

    def __init__(self, stage: str, listener: Listener, *, device: str = "") -> None:
        self._stage = stage
        self._device = device
        self._listener = listener
        self._actor = uuid.uuid4().hex
        self._cpu = time.process_time()
        self._clear()

    def _clear(self) -> None:
        self._began: float | None = None
        self._busy = self._child_cpu = 0.0
        self._units = 0

    def add(self, began: float, units: int, *, child_cpu_s: float = 0.0) -> None:
        """Work that began at ``began`` (`time.time`) and has just ended."""
        self._began = began if self._began is None else self._began
        self._ended = time.time()
        self._busy += self._ended - began
        self._child_cpu += child_cpu_s
        self._units += units

    @property
    def is_due(self) -> bool:
        """Whether what was added is worth a message of its own."""
        return self._began is not None and self._ended >= self._began + _REPORT_SECONDS

    def report(self, *, views: int = 0, slots: int = 0) -> None:
        """Tells what was added since the last report, if anything was."""
        if self._began is None:
            return
        cpu = time.process_time()
        worked = WorkReport(
            stage=self._stage,
            actor=self._actor,
            began=self._began,
            ended=self._ended,
            busy_s=self._busy,
            cpu_s=cpu - self._cpu + self._child_cpu,
            units=self._units,
            views=views,
            slots=slots,
            device=self._device,
        )
        self._cpu = cpu
        self._clear()
        self._listener(worked)
