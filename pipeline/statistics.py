"""Shares and means with intervals, tests of differences, agreement of labels; pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

# Two-sided 95 %.
_Z = 1.959963984540054
_RESAMPLINGS = 2000
_SEED = 20231002


@dataclass(frozen=True)
class Estimate:
    """A mean over `count` things and its two-sided 95 % interval; nan where there are none."""

    value: float
    low: float
    high: float
    count: int

    def percent(self) -> str:
        """Such as `97.9 % (92.8 to 99.4)`."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def points(self, places: int = 1) -> str:
        """A difference of shares in percentage points, such as `-11.5 points (-16.0 to -7.3)`."""
        # Adding 0.0 turns a rounded -0.0 into 0.0, which has one sign.
        value, low, high = (
            f"{round(100 * each, places) + 0.0:+.{places}f}"
            for each in (self.value, self.low, self.high)
        )
        return f"{value} points ({low} to {high})"


def share(hits: int, count: int) -> Estimate:
    """A share of independent things with Wilson's score interval, which holds near 0 and 1 too.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not 0 <= hits <= count:
        raise ValueError(f"hits must be 0 to {count}; got {hits}")
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    return Estimate(hits / count, *_wilson(hits / count, count), count)


def weighted_share(hits: Floats, weights: Floats) -> Estimate:
    """A share of independent things (n,) that count differently, such as a mean of classes.

    The interval is Wilson's for as many things of equal weight as would vary as much: (sum of
    weights)^2 / sum of weights^2 (L. Kish, Survey sampling, 1965).

    Args:
        hits: (n,) 1 or 0 each.
        weights: (n,) above 0.
    """
    if len(hits) != len(weights):
        raise ValueError(f"hits and weights differ in length: {len(hits)} and {len(weights)}")
    if not len(hits):
        return Estimate(math.nan, math.nan, math.nan, 0)
    total = float(weights.sum())
    # All hits are a share of 1, whatever the order of adding up.
    value = 1.0 if (hits == 1).all() else float(weights @ hits) / total
    return Estimate(value, *_wilson(value, total**2 / float(weights @ weights)), len(hits))


def _wilson(value: float, count: float) -> tuple[float, float]:
    """The ends of Wilson's interval of a share of `count` things."""
    z2 = _Z**2
    center = (value + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(value * (1 - value) / count + z2 / (4 * count**2))
    low = 0.0 if value == 0 else max(0.0, center - half)
    return low, 1.0 if value == 1 else min(1.0, center + half)


def mean(values: Floats) -> Estimate:
    """A mean of independent numbers (n,) with a percentile bootstrap interval, always the same."""
    return ratio(values, np.ones(len(values)))


def mean_difference(values: Floats) -> Estimate:
    """The mean of paired differences (n,) of shares, -1 to 1 each, with an interval that does not
    shrink to nothing where no pair differs.

    Wald's interval after half a pair more of each kind: 1, -1 and twice 0. A. Agresti and Y. Min,
    Simple improved confidence intervals for comparing matched proportions, 2005.
    """
    count = len(values)
    if not count:
        return Estimate(math.nan, math.nan, math.nan, 0)
    exact = np.asarray(values, np.float64)
    total, more = float(exact.sum()), count + 2
    middle = total / more
    spread = math.sqrt(float(exact @ exact) + 1 - total**2 / more) / more
    value = total / count
    low, high = middle - _Z * spread, middle + _Z * spread
    return Estimate(value, max(-1.0, min(value, low)), min(1.0, max(value, high)), count)


def ratio(parts: Floats, wholes: Floats) -> Estimate:
    """The sum of `parts` (n,) over the sum of `wholes` (n,), with a bootstrap over the n groups.

    What belongs together, as views of one recording do, is drawn together.
    """
    count = len(parts)
    if count != len(wholes):
        raise ValueError(f"parts and wholes differ in length: {count} and {len(wholes)}")
    total = float(np.sum(wholes, dtype=np.float64))
    if count == 0 or total == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(np.sum(parts, dtype=np.float64)) / total
    drawn = _resampled(np.asarray(parts, np.float64), np.asarray(wholes, np.float64))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)), count)


def _resampled(parts: Floats, wholes: Floats) -> Floats:
    """(resamplings,) ratios over samples of as many groups, drawn with replacement.

    How often each group is drawn is told by Poisson weights, which for large samples differ from
    drawing by nothing that shows, and take memory for one resampling only.
    """
    draw = np.random.default_rng(_SEED)
    out = np.empty(_RESAMPLINGS)
    for number in range(_RESAMPLINGS):
        if len(parts) < 1000:
            chosen = draw.integers(len(parts), size=len(parts))
            weights = np.bincount(chosen, minlength=len(parts)).astype(np.float64)
        else:
            weights = draw.poisson(1.0, size=len(parts)).astype(np.float64)
        whole = float(weights @ wholes)
        out[number] = float(weights @ parts) / whole if whole else float(np.nan)
    finite: Floats = out[np.isfinite(out)]
    return finite


def top_overlap(one: Ints, other: Ints) -> Floats:
    """(n,) share of the classes of `one` (n, k) that stand in `other` (n, k) too, in any order."""
    if one.shape != other.shape:
        raise ValueError(f"shapes differ: {one.shape} and {other.shape}")
    found = (one[:, :, None] == other[:, None, :]).any(axis=2)
    return np.asarray(found.mean(axis=1))


def jensen_shannon(one: Floats, other: Floats) -> Floats:
    """(n,) Jensen-Shannon divergence of probabilities (n, classes), bits: 0 if equal, at most 1.

    J. Lin, Divergence measures based on the Shannon entropy, 1991.
    """
    if one.shape != other.shape:
        raise ValueError(f"shapes differ: {one.shape} and {other.shape}")
    p, q = (_probabilities(np.asarray(each, np.float64)) for each in (one, other))
    middle = (p + q) / 2
    divergence = (_relative(p, middle) + _relative(q, middle)) / 2
    return np.asarray(np.clip(divergence, 0.0, 1.0))


def _probabilities(scores: Floats) -> Floats:
    """Rows that add up to 1; float32 sums miss it by a little."""
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def _relative(p: Floats, q: Floats) -> Floats:
    """(n,) relative entropy of p to q, bits; what p gives no chance adds nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms: Floats = np.where(p > 0, p * np.log2(p / q), 0.0)
    return np.asarray(terms.sum(axis=1))


def share_difference(hits: int, count: int, other_hits: int, other_count: int) -> Estimate:
    """The share hits / count minus the share other_hits / other_count, of independent things.

    The interval combines Wilson's of both shares. R. G. Newcombe, Interval estimation for the
    difference between independent proportions, 1998, method 10. `count` of the estimate is that of
    both together.
    """
    one, other = share(hits, count), share(other_hits, other_count)
    if not (count and other_count):
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, max(-1.0, value - below), min(1.0, value + above), count + other_count)


def fisher_exact(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """Two-sided p-value of Fisher's exact test that two shares are one share.

    The probability, given the sum of the hits, of a table that is no more probable than this one.
    """
    together = hits + other_hits
    least, most = max(0, together - other_count), min(together, count)
    counts = np.arange(least, most, dtype=np.float64)
    steps = np.log((together - counts) * (count - counts)) - np.log(
        (counts + 1) * (other_count - together + counts + 1)
    )
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    chances = np.exp(logs - logs.max())
    # Tables of equal probability differ by rounding.
    within = chances <= chances[hits - least] * (1 + 1e-7)
    return float(min(1.0, chances[within].sum() / chances.sum()))


def holm(p_values: Floats) -> Floats:
    """(n,) p-values adjusted for their number: those below a level are all real findings with a
    confidence of 1 - level, however the tests depend on each other.

    S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return adjusted
