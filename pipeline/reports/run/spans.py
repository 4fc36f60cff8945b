"""When a run was at work: one span per attempt of the command, and the rate over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.run.attempt_rows import Span

Floats = npt.NDArray[np.float64]

_MOST_BINS, _FEWEST_BINS, _UNITS_PER_BIN = 60, 6, 4


@dataclass(frozen=True)
class SpanRates:
    """What was done over time within one span.

    Attributes:
        edges: (bins + 1,) seconds since the epoch.
        units: (bins,) units labeled per second.
        video: (bins,) seconds of video labeled per second, which is video-hours per hour.
    """

    edges: Floats
    units: Floats
    video: Floats


def span_of(at: Floats) -> list[Span]:
    """The one span of a run that says nothing of its attempts; none where no time is known."""
    return [Span(float(at.min()), float(at.max()))] if len(at) else []


def numbers_of(at: Floats, among: Sequence[Span]) -> npt.NDArray[np.int64]:
    """(n,) the span in which each row was made: the last that began before it, or the first."""
    begans = np.array([span.began for span in among])
    return np.asarray(np.maximum(np.searchsorted(begans, at, side="right") - 1, 0))


def rates(among: Sequence[Span], at: Floats, video_s: Floats) -> list[SpanRates]:
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
        found.append(SpanRates(edges, units, video))
    return found
