"""Estimates with their intervals in words."""

from __future__ import annotations

from pipeline.formatting import UNKNOWN
from pipeline.statistics import Estimate


def share(estimate: Estimate | None) -> str:
    """Percent with its interval."""
    return UNKNOWN if estimate is None or not estimate.count else estimate.percent()


def points(estimate: Estimate) -> str:
    """A difference of shares in points, with its interval."""
    value, low, high = (100 * each for each in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def bits(estimate: Estimate | None) -> str:
    """A divergence with its interval."""
    if estimate is None or not estimate.count:
        return UNKNOWN
    return f"{estimate.value:.4f} bits ({estimate.low:.4f} to {estimate.high:.4f})"
