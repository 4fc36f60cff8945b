"""Which views of a video are looked at, in which order, and when the answer is settled.

A protocol's label is that of the mean over all its views. After some of them the label that margins
so far is nearly certain to be that of all, and the rest need not be computed. How certain follows
from the margin: of n views k were looked at, and the mean over a sample of k of n things, drawn
without replacement, strays from the mean over all by sigma * sqrt((n - k) / (k * (n - 1))), where
sigma is their spread (W. G. Cochran, Sampling Techniques, 1977, theorem 2.2). A margin of
`threshold`
times that root is enough; what `threshold` must be is found on videos whose views were all labeled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class EarlyExit:
    """When a video has been looked at enough.

    Attributes:
        threshold: the margin of the best class over the second that settles it, in units of
            `needed_margin`; infinite for a policy that looks at every view.
        max_views: views at the most, None for all.
    """

    threshold: float
    max_views: int | None = None

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number, 0 or more; got {self.threshold!r}")
        if self.max_views is not None and self.max_views < 1:
            raise ValueError(f"max_views must be 1 or more views; got {self.max_views!r}")

    def should_stop(self, margin: float, *, seen: int, views: int) -> bool:
        """Whether a video needs no further look.

        Args:
            margin: of the best class over the second, in the mean probabilities of the views so
                far.
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
        most = min(views, self.max_views or views)
        enough = [self.threshold * needed_margin(count, views) for count in range(1, most)]
        is_enough = margins >= np.array([*enough, -np.inf])[np.minimum(seen, most) - 1]
        # Whatever its margin, which is no number where the model says nothing that is one.
        return np.asarray(is_enough | (seen >= most))


def needed_margin(seen: int, views: int) -> float:
    """The margin that settles a video at threshold 1: 1 after the first view, 0 after the last."""
    if seen >= views:
        return 0.0
    return math.sqrt((views - seen) / (seen * (views - 1)))


def margin(mean: Floats) -> Floats:
    """(...,) margin of the best class over the second in mean probabilities (..., classes); of a
    single class, its probability.

    It is rounded to float32, as a run writes it down, so that whoever reads it decides likewise.
    """
    if mean.shape[-1] == 1:
        found = mean[..., 0]
    else:
        best = np.partition(mean, -2, axis=-1)
        found = best[..., -1] - best[..., -2]
    return np.asarray(found).astype(np.float32).astype(np.float64)


def margins(probabilities: Floats) -> Floats:
    """(views,) float64, `margin` in the mean of the views up to each.

    Args:
        probabilities: float32 (views, classes), in the order in which they are looked at.
    """
    counts = np.arange(1, len(probabilities) + 1)[:, None]
    return margin(np.cumsum(probabilities, axis=0, dtype=np.float64) / counts)
