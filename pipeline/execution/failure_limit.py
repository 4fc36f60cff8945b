"""The largest share of units that may fail before a run stops (--max-failed)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pipeline.errors import UsageError

# The share is not judged on fewer units: a few broken videos may come first.
_ENOUGH = 50
# Standard deviations of the one-sided bound: it stops less than 1 in 700 runs within their limit.
_Z = 3.0


@dataclass(frozen=True)
class FailureLimit:
    """The largest share of units that may fail.

    Attributes:
        share: 0 to 1.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"a share is 0% to 100%; got {self.share:.4g}")

    @classmethod
    def parse(cls, text: str) -> FailureLimit:
        """The limit that a text such as "5%" or "0.05" names.

        Raises:
            UsageError: the text is not a share.
        """
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(%?)\s*", text)
        if match is None:
            raise UsageError(f"a share is written 5% or 0.05; got {text!r}")
        return cls(float(match[1]) / (100 if match[2] else 1))

    def is_exceeded(self, *, failed: int, done: int, total: int) -> bool:
        """Whether the run is certain, or very likely, to end above the limit.

        Args:
            failed: units that failed so far.
            done: units that have a row so far, failed ones included.
            total: units of the run.
        """
        if failed > self.share * total:
            return True
        return done >= _ENOUGH and _lower_bound(failed, done) > self.share

    def __str__(self) -> str:
        return f"{100 * self.share:g} %"


def _lower_bound(failed: int, done: int) -> float:
    """Lower end of the Wilson score interval for a share (Wilson 1927)."""
    share, z2 = failed / done, _Z * _Z
    spread = _Z * math.sqrt(share * (1 - share) / done + z2 / (4 * done * done))
    return (share + z2 / (2 * done) - spread) / (1 + z2 / done)
