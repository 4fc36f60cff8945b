"""Statistics of the decode and label stages: sums over their actors, rates and busy shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.actor_stats import DECODE, LABEL, WorkReport


@dataclass(frozen=True)
class Stage:
    """Sums over the actors of one stage.

    Attributes:
        actors: number of actors.
        units: rows processed.
        busy_s: wall-clock time of their work, seconds.
        cpu_s: CPU time of the actors and their child processes, seconds.
        began: start of the first work, seconds since the epoch; None before it.
        ended: end of the last work, seconds since the epoch; None before the first work.
        views: views labeled.
        slots: batch slots of their forward passes, padding included.
        devices: names of the devices of labelers; empty for decoders.
        missing: parts of the decoders' sandbox that the kernel of a machine lacks.
    """

    actors: int = 0
    units: int = 0
    busy_s: float = 0.0
    cpu_s: float = 0.0
    began: float | None = None
    ended: float | None = None
    views: int = 0
    slots: int = 0
    devices: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def rate(self) -> float | None:
        """Units per second of one actor that never waits; None if unknown."""
        return self.units / self.busy_s if self.units and self.busy_s > 0 else None

    @property
    def padding(self) -> float:
        """Share of the batch slots that was padding, 0 to 1."""
        return 1 - self.views / self.slots if self.slots else 0.0

    def __add__(self, other: Stage) -> Stage:
        """The sums over the actors of both, which are different ones."""
        began = [each for each in (self.began, other.began) if each is not None]
        ended = [each for each in (self.ended, other.ended) if each is not None]
        return Stage(
            actors=self.actors + other.actors,
            units=self.units + other.units,
            busy_s=self.busy_s + other.busy_s,
            cpu_s=self.cpu_s + other.cpu_s,
            began=min(began, default=None),
            ended=max(ended, default=None),
            views=self.views + other.views,
            slots=self.slots + other.slots,
            devices=tuple(sorted({*self.devices, *other.devices} - {""})),
            missing=tuple(sorted({*self.missing, *other.missing})),
        )

    def with_work(self, worked: WorkReport, *, actors: int) -> Stage:
        """The sums with one more report added."""
        added = self + Stage(
            units=worked.units,
            busy_s=worked.busy_s,
            cpu_s=worked.cpu_s,
            began=worked.began,
            ended=worked.ended,
            views=worked.views,
            slots=worked.slots,
            devices=(worked.device,),
            missing=worked.missing,
        )
        return dataclasses.replace(added, actors=actors)


@dataclass(frozen=True)
class Stages:
    """Statistics of both stages.

    Attributes:
        decode: sums over the decoders.
        label: sums over the labelers.
    """

    decode: Stage = field(default_factory=Stage)
    label: Stage = field(default_factory=Stage)

    def __add__(self, other: Stages) -> Stages:
        """The statistics of both, which are of different actors."""
        return Stages(self.decode + other.decode, self.label + other.label)

    @property
    def are_measured(self) -> bool:
        """Whether both stages have a rate and at least one view was labeled."""
        return bool(self.decode.rate and self.label.rate and self.label.views)

    @property
    def wall_s(self) -> float:
        """Seconds from the start of the first decoding to the end of the last labeling."""
        return _between(self.decode, self.label)

    @property
    def decoders_busy(self) -> float:
        """Share of the decoders' time that they spent decoding, 0 to 1."""
        return _share(self.decode.busy_s, self.decode.actors * self.wall_s)

    @property
    def labelers_busy(self) -> float:
        """Share of the labelers' time, from their first batch on, that they spent labeling."""
        window = _between(self.label, self.label)
        return _share(self.label.busy_s, self.label.actors * window)

    def within(self, *, decoders: int, labelers: int) -> Stages:
        """The statistics with at most this many actors; replacements of dead ones do not count."""
        return Stages(
            dataclasses.replace(self.decode, actors=min(self.decode.actors, decoders)),
            dataclasses.replace(self.label, actors=min(self.label.actors, labelers)),
        )

    def brief(self) -> str | None:
        """Such as `decoders 97 % busy, labelers 41 %`; None if nothing was measured."""
        if not self.are_measured:
            return None
        return (
            f"decoders {100 * self.decoders_busy:.0f} % busy, "
            f"labelers {100 * self.labelers_busy:.0f} %"
        )

    def as_json(self) -> dict[str, Any]:
        """The statistics as run.json holds them."""
        return dataclasses.asdict(self) | {
            "wall_s": self.wall_s,
            "decoders_busy": self.decoders_busy,
            "labelers_busy": self.labelers_busy,
            "padding": self.label.padding,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Stages:
        """Statistics that `as_json` wrote.

        Raises:
            KeyError, TypeError: `content` was not written by `as_json`.
        """
        decode, label = (
            Stage(**(content[name] | {each: tuple(content[name].get(each, ())) for each in _NAMES}))
            for name in ("decode", "label")
        )
        return cls(decode, label)


_NAMES = ("devices", "missing")  # lists in JSON


class StageSums:
    """Adds up the reports of actors."""

    def __init__(self) -> None:
        self._stages = {DECODE: Stage(), LABEL: Stage()}
        self._actors: dict[str, set[str]] = {DECODE: set(), LABEL: set()}

    def add(self, worked: WorkReport) -> None:
        """Adds one report."""
        actors = self._actors[worked.stage]
        actors.add(worked.actor)
        self._stages[worked.stage] = self._stages[worked.stage].with_work(
            worked, actors=len(actors)
        )

    def stages(self) -> Stages:
        """The sums so far."""
        return Stages(self._stages[DECODE], self._stages[LABEL])


def fullest(accounts: Iterable[Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    """Of several accounts of the stages, as `Stages.as_json` gives them, that of most units; None
    where there is none.
    """
    return max(filter(None, accounts), key=lambda each: each["label"]["units"], default=None)


def _between(first: Stage, last: Stage) -> float:
    if first.began is None or last.ended is None:
        return 0.0
    return max(0.0, last.ended - first.began)


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0
