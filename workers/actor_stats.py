"""Work reports of actors: time, CPU time, units and views, for the stage statistics of a run.

`timed` wraps any actor. An actor's busy time includes its waiting for storage and for the decoder's
child process; the rest of its time it waits for rows, or for Ray Data to take the rows it made.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import pyarrow as pa

StageName = Literal["decode", "label"]

DECODE: StageName = "decode"
LABEL: StageName = "label"

_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class WorkReport:
    """The work of one actor since its last report.

    Attributes:
        stage: DECODE or LABEL.
        actor: unique id of the actor.
        began: when the first of the work began, seconds since the epoch.
        ended: when the last of it ended.
        busy_s: wall-clock time within the actor's `__call__`, without `ActorTotals.idle_s`.
        cpu_s: CPU time of its process and of its decoder's child, in and outside of `__call__`.
        units: rows.
        views: views labeled; 0 for a decoder.
        slots: views that the forward passes had room for, used or padding; 0 for a decoder.
        device: name of the device of a labeler; "" for a decoder.
        missing: parts of a decoder's sandbox that the kernel of its machine lacks.
    """

    stage: StageName
    actor: str
    began: float
    ended: float
    busy_s: float
    cpu_s: float
    units: int
    views: int = 0
    slots: int = 0
    device: str = ""
    missing: tuple[str, ...] = ()


Listener = Callable[[WorkReport], None]


@dataclass(frozen=True)
class ActorTotals:
    """Totals over an actor's life, as in `WorkReport`; `child_cpu_s` is a part of `cpu_s`.

    `idle_s`: time within `__call__` in which a labeler waited for further clips to be decoded.
    """

    views: int = 0
    slots: int = 0
    child_cpu_s: float = 0.0
    idle_s: float = 0.0


class Actor(Protocol):
    """What `timed` needs of an actor: a table in, a table or an iterator of tables out."""

    stage: ClassVar[StageName]

    @property
    def device(self) -> str:
        """Name of the device it computes on; "" for a decoder."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts of its sandbox that the kernel of its machine lacks; () for a labeler."""

    @property
    def totals(self) -> ActorTotals:
        """Its work so far."""

    def __call__(self, rows: pa.Table, /) -> pa.Table | Iterator[pa.Table]:
        """Processes rows."""


class TimedActor:
    """Runs an actor and reports its work to a listener, about once a second.

    Use the subclass that `timed` makes.

    Args:
        listener: called with each report.
        args: arguments of the actor.
        settings: keyword arguments of the actor.
    """

    actor_class: ClassVar[Callable[..., Actor]]

    def __init__(self, listener: Listener, *args: Any, **settings: Any) -> None:
        self._actor = type(self).actor_class(*args, **settings)
        self._listener = listener
        self._id = uuid.uuid4().hex
        self._cpu_s = time.process_time()
        self._totals = self._actor.totals
        self._began: float | None = None
        self._ended = self._busy_s = 0.0
        self._units = 0

    def __call__(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Yields the tables that the actor makes of the rows."""
        results = _results(self._actor, rows)
        while True:
            began = time.time()
            result = next(results, None)
            if result is None:
                break
            self._began = began if self._began is None else self._began
            self._ended = time.time()
            self._busy_s += self._ended - began
            self._units += len(result)
            if self._ended >= self._began + _REPORT_SECONDS:
                self._report()
            yield result
        self._report()

    def _report(self) -> None:
        """Reports the work since the last report, if there was any."""
        if self._began is None:
            return
        cpu_s, totals = time.process_time(), self._actor.totals
        self._listener(
            WorkReport(
                stage=self._actor.stage,
                actor=self._id,
                began=self._began,
                ended=self._ended,
                busy_s=max(0.0, self._busy_s - (totals.idle_s - self._totals.idle_s)),
                cpu_s=cpu_s - self._cpu_s + totals.child_cpu_s - self._totals.child_cpu_s,
                units=self._units,
                views=totals.views - self._totals.views,
                slots=totals.slots - self._totals.slots,
                device=self._actor.device,
                missing=self._actor.missing,
            )
        )
        self._cpu_s, self._totals = cpu_s, totals
        self._began, self._busy_s, self._units = None, 0.0, 0


def timed(actor_class: Callable[..., Actor]) -> type[TimedActor]:
    """A `TimedActor` of a class of actors, which keeps the class's name: Ray Data names the steps
    of its graph and its processes after it.
    """
    name = getattr(actor_class, "__name__", "Actor")
    return type(f"Timed{name}", (TimedActor,), {"actor_class": actor_class})


def _results(actor: Actor, rows: pa.Table) -> Iterator[pa.Table]:
    results = actor(rows)
    if isinstance(results, pa.Table):
        yield results
    else:
        yield from results
