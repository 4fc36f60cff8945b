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
    """

    output: str
    made: str
    finished: str
    units: int
    failed: int
    absent: int
    agreement: Estimate

    def lines(self, units_are: str) -> list[str]:
        """On the screen: the run, and what it lacks; one line each, to be wrapped."""
        of = f" of {self.finished}" if self.finished else ""
        said = f"Proxy:     the run {self.output}{of} ({self.made})"
        if not math.isnan(self.agreement.value):
            said += (
                f", which says of {self.agreement.percent()} of {self.agreement.count:,} "
                f"{units_are} what the reference says"
            )
        return [said, *(f"Unscored:  {each}" for each in self._lacks(units_are))]

    def _lacks(self, units_are: str) -> list[str]:
        lacks = [
            f"{count:,} {words}"
            for count, words in ((self.absent, "are not in it"), (self.failed, "failed in it"))
            if count
        ]
        if not lacks:
            return []
        return [f"of {self.units:,} {units_are} {' and '.join(lacks)}; their score is 0"]
