"""Early exit: the order in which views are evaluated, and the margin at which evaluation stops.

A protocol's label is the class with the largest mean probability over all its views. After k of n
views, the top-1/top-2 margin of the mean so far says how likely the rest are to overturn it. The
mean of k of n values drawn without replacement deviates from the mean of all n by
sigma * sqrt((n - k) / (k * (n - 1))), where sigma is their standard deviation (W. G. Cochran,
Sampling Techniques, 1977, theorem 2.2). Evaluation therefore stops when the margin reaches
`threshold` times that root. The threshold is fitted on videos whose views were all evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class EarlyExit:
    """When the evaluation of a video stops.

    Attributes:
        threshold: the top-1/top-2 margin at which evaluation stops, in units of `needed_margin`;
            infinite to evaluate every view.
        max_views: at most this many views per video; None for all.
    """

    threshold: float
    max_views: int | None = None

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number, 0 or more; got {self.threshold!r}")
        if self.max_views is not None and self.max_views < 1:
            raise ValueError(f"max_views must be 1 or more; got {self.max_views!r}")

    def should_stop(self, margin: float, *, seen: int, views: int) -> bool:
        """Whether no further view of a video is needed.

        Args:
            margin: top-1/top-2 margin of the mean probabilities of the views so far.
            seen: views so far, 1 or more.
            views: views of the protocol.
        """
        return bool(
            self.should_stop_each(np.array([margin]), seen=np.array([seen]), views=views)[0]
        )

    def should_stop_each(
        self, margins: Floats, *, seen: npt.NDArray[np.integer], views: int
    ) -> npt.NDArray[np.bool_]:
        """(n,) `should_stop` for margins (n,) after so many views (n,) each."""
        limit = min(views, self.max_views or views)
        enough = [self.threshold * needed_margin(count, views) for count in range(1, limit)]
        is_enough = margins >= np.array([*enough, -np.inf])[np.minimum(seen, limit) - 1]
        # The last view ends the evaluation even where the margin is nan.
        return np.asarray(is_enough | (seen >= limit))


def needed_margin(seen: int, views: int) -> float:
    """The margin that stops evaluation at threshold 1: 1 after the first view, 0 after the last."""
    if seen >= views:
        return 0.0
    return math.sqrt((views - seen) / (seen * (views - 1)))


def margin(mean: Floats) -> Floats:
    """(...,) top-1/top-2 margin of mean probabilities (..., classes).

    With a single class it is the probability of that class. It is rounded to float32, as the run
    stores it, so that decisions made from stored margins are the same.
    """
    if mean.shape[-1] == 1:
        found = mean[..., 0]
    else:
        best = np.partition(mean, -2, axis=-1)
        found = best[..., -1] - best[..., -2]
    return np.asarray(found).astype(np.float32).astype(np.float64)


def margins(probabilities: Floats) -> Floats:
    """(views,) float64, `margin` of the mean of the views up to each.

    Args:
        probabilities: float32 (views, classes), in evaluation order.
    """
    counts = np.arange(1, len(probabilities) + 1)[:, None]
    return margin(np.cumsum(probabilities, axis=0, dtype=np.float64) / counts)
