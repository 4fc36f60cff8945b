"""When a run was at work: one span per attempt of the command, and the rate over time."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MOST_BINS, _FEWEST_BINS, _UNITS_PER_BIN = 60, 6, 4


@dataclass(frozen=True)
class Span:
    """Seconds since the epoch from which and to which an attempt of the command was at work."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.began


@dataclass(frozen=True)
class Rates:
    """What was done over time within one span.

    Attributes:
        edges: (bins + 1,) seconds since the epoch.
        units: (bins,) units labeled per second.
        video: (bins,) seconds of video labeled per second, which is video-hours per hour.
    """

    edges: Floats
    units: Floats
    video: Floats


def spans(attempts: Sequence[Mapping[str, Any]], at: Floats) -> list[Span]:
    """The spans of run.json's attempts, in their order.

    Args:
        attempts: run.json's, with `began` and `ended` in ISO format. A killed attempt has `ended`
            None; it ends with its last row before the next attempt.
        at: (n,) when each row was made, seconds since the epoch.
    """
    begans = [_seconds(attempt["began"]) for attempt in attempts]
    order = np.sort(at)
    found = []
    for number, (attempt, began) in enumerate(zip(attempts, begans, strict=True)):
        if attempt.get("ended"):
            ended = _seconds(attempt["ended"])
        else:
            following = begans[number + 1] if number + 1 < len(begans) else np.inf
            place = int(np.searchsorted(order, following))
            ended = float(order[place - 1]) if place else began
        found.append(Span(began, max(began, ended)))
    return found


def span_of(at: Floats) -> list[Span]:
    """The one span of a run that says nothing of its attempts; none where no time is known."""
    return [Span(float(at.min()), float(at.max()))] if len(at) else []


def numbers_of(at: Floats, among: Sequence[Span]) -> npt.NDArray[np.int64]:
    """(n,) the span in which each row was made: the last that began before it, or the first."""
    begans = np.array([span.began for span in among])
    return np.asarray(np.maximum(np.searchsorted(begans, at, side="right") - 1, 0))


def rates(among: Sequence[Span], at: Floats, video_s: Floats) -> list[Rates]:
    """The rates within each span, in bins of about equal length; none where no time went by.

    Args:
        among: spans in their order.
        at: (n,) when each unit was labeled, seconds since the epoch. Clocks of machines differ a
            little: what lies outside of its span counts at its edge.
        video_s: (n,) length of video in each unit, seconds.
    """
    worked = sum(span.seconds for span in among)
    if worked <= 0 or not len(at):
        return []
    width = worked / min(_MOST_BINS, max(_FEWEST_BINS, len(at) // _UNITS_PER_BIN))
    of = numbers_of(at, among)
    found = []
    for number, span in enumerate(among):
        if span.seconds <= 0:
            continue
        edges = np.linspace(span.began, span.ended, max(1, round(span.seconds / width)) + 1)
        mine = of == number
        when = np.clip(at[mine], span.began, span.ended)
        length = np.diff(edges)
        units = np.histogram(when, edges)[0] / length
        video = np.histogram(when, edges, weights=video_s[mine])[0] / length
        found.append(Rates(edges, units, video))
    return found


def _seconds(text: str) -> float:
    """Seconds since the epoch of a time in ISO format; UTC where it names no zone."""
    time = datetime.datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()
