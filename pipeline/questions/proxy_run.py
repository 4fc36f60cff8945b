"""What an answer says of an earlier run that was its proxy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.statistics import Estimate


@dataclass(frozen=True)
class ProxyRun:
    """An earlier run that was the proxy.

    Attributes:
        output: where it lies.
        made: what made its labels, in words.
        finished: when, as an ISO date; "" if not known.
        units: of the population.
        failed: those of them that failed in it.
        absent: those that are not in it.
        agreement: share of the units of the sample that it labeled which have, or have not, the
            same of the labels that are asked for as by the reference, with a 95 % interval.
        warns_of_head: whether a head made its labels of which it is not known what it was trained
            on.
    """

    output: str
    made: str
    finished: str
    units: int
    failed: int
    absent: int
    agreement: Estimate
    warns_of_head: bool

    def lines(self, units_are: str, *, beyond: str = " beyond the first round") -> list[str]:
        """On the screen: the run, what it lacks, and what a head must not know; one line each, to
        be wrapped.

        `beyond`: which part of the sample a head must not have been trained on, in words.
        """
        of = f" of {self.finished}" if self.finished else ""
        said = f"Proxy:     the run {self.output}{of} ({self.made})"
        if not math.isnan(self.agreement.value):
            said += (
                f"; on the labels that are asked for it agrees with the reference for "
                f"{self.agreement.percent()} of {self.agreement.count:,} {units_are} of the sample"
            )
        lines = [said, *(f"Unscored:  {each}" for each in self._lacks(units_are))]
        if self.warns_of_head:
            lines.append(
                f"Note:      this holds if the head was not trained on {units_are} of this sample"
                f"{beyond}: of those it says more than of the rest"
            )
        return lines

    def _lacks(self, units_are: str) -> list[str]:
        lacks = [
            f"{count:,} {words}"
            for count, words in ((self.absent, "are not in it"), (self.failed, "failed in it"))
            if count
        ]
        if not lacks:
            return []
        return [f"of {self.units:,} {units_are} {' and '.join(lacks)}; their score is 0"]
