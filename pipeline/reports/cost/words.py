"""Numbers in words: amounts, times, shares, intervals."""

from __future__ import annotations

from pipeline.formatting import digits
from pipeline.reports.html.render import quantity
from pipeline.statistics import Estimate

UNKNOWN = "not known"


def money(value: float | None, currency: str) -> str:
    """An amount, such as `12.34 USD`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.2f} {currency}" if abs(value) >= 10 else f"{digits(value)} {currency}"


def percent(part: float, whole: float) -> str:
    """A share, such as `49.1 %`."""
    return f"{100 * part / whole:.1f} %" if whole else UNKNOWN


def seconds(value: float) -> str:
    """A time that is not read off a clock, such as `1,234 s`."""
    return f"{digits(value)} s"


def hours(value: float) -> str:
    """Hours, or minutes where these are few."""
    return f"{digits(value)} h" if abs(value) >= 1 else f"{digits(60 * value)} min"


def amount(value: float, unit: str) -> str:
    """With a metric prefix, such as `12.3 TFLOPs`."""
    return quantity(value, unit)


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
