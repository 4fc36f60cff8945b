"""From videos whose views were all labeled to the threshold that keeps a promise with few views.

The thresholds of a fixed list are tested from the most careful on, each by an exact bound of its
agreement at the full confidence, until one fails. The last that passed keeps the promise at this
confidence, although several were tried: to choose one that does not, the first of those that do
not must have passed, which happens with no more than the probability of one test's error (fixed
sequence testing: A. N. Angelopoulos, S. Bates, E. J. Candes, M. I. Jordan, L. Lei, Learn then Test,
2021, section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.early_exit.binomial import is_provable, lower_bound, most_misses, videos_needed
from pipeline.early_exit.early_exit_file import Point
from pipeline.early_exit.margins import Bools, Floats, Ints, Looks, views_used
from pipeline.errors import UsageError
from workers.inference.early_exit import needed_margin

_MOST, _LEAST, _STEPS = 4.0, 0.005, 160
# A confident model's margins lie this close below 1.
_BELOW_ONE = (0.9, 0.99, 0.999, 0.9999, 0.99999)


@dataclass(frozen=True)
class Promise:
    """What a policy is to keep.

    Attributes:
        agreement: the share of videos whose label is that of all views, at least.
        confidence: how sure that is to be.
    """

    agreement: float
    confidence: float

    def __post_init__(self) -> None:
        for name in ("agreement", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(
                    f"--{name} must be above 0 and below 1, such as 0.99; got "
                    f"{getattr(self, name):g}"
                )

    @property
    def videos_needed(self) -> int:
        """How many videos prove it at the least, if all agree."""
        return videos_needed(self.agreement, self.confidence)

    def check(self, videos: int, found: str) -> None:
        """Refuses fewer videos than can prove it.

        Args:
            videos: how many there are.
            found: the same in words, such as `there are 300`.

        Raises:
            UsageError: the message says how many it takes.
        """
        if not self.is_provable(videos):
            raise UsageError(
                f"an agreement of {self.agreement:g} at {100 * self.confidence:g} % confidence "
                f"takes {self.videos_needed:,} videos at least, and {found}; take more or promise "
                f"less by --agreement"
            )

    def is_provable(self, videos: int) -> bool:
        """Whether so many videos can prove it."""
        return is_provable(videos, self.agreement, self.confidence)


def thresholds(views: int) -> Floats:
    """(m,) float64 thresholds that are tried, descending: from the most careful to the quickest.

    They follow from the number of views alone. The first looks at every view and the last at one.
    Between them lie even steps, and finer ones below each threshold where a margin of 1 begins to
    be enough after one view fewer, where a confident model's videos are settled all at once.
    """
    even = np.geomspace(_MOST, _LEAST, _STEPS)
    fine = [below / needed_margin(seen, views) for seen in range(1, views) for below in _BELOW_ONE]
    middle = [threshold for threshold in (*even, *fine) if threshold < min(views, _MOST + 1e-9)]
    # Rounded so that the file shows them as they are.
    chosen = {float(f"{threshold:.6g}") for threshold in middle} | {float(views), 0.0}
    return np.array(sorted(chosen, reverse=True))


@dataclass(frozen=True)
class Trace:
    """What the policy of every threshold did with every video.

    Attributes:
        thresholds: (m,) as `thresholds` gives them.
        views: (m, n) views looked at.
        missed: (m, n) whether the label was another than that of all views.
    """

    thresholds: Floats
    views: Ints
    missed: Bools

    @classmethod
    def of(cls, looks: Looks) -> Trace:
        """Tries every threshold on every video."""
        tried = thresholds(looks.views)
        agreeing, rows = looks.agreeing, np.arange(looks.videos)
        views = np.empty((len(tried), looks.videos), np.int16)
        missed = np.empty((len(tried), looks.videos), np.bool_)
        for number, threshold in enumerate(tried.tolist()):
            used = views_used(looks, threshold)
            views[number] = used
            missed[number] = ~agreeing[rows, used - 1]
        return cls(tried, views, missed)

    def chosen(self, promise: Promise, videos: npt.NDArray[np.integer] | None = None) -> int:
        """Number of the threshold that keeps the promise with the fewest views.

        Args:
            promise: what is to be kept.
            videos: numbers of the videos to fit on, None for all.

        Raises:
            UsageError: so few videos cannot prove it.
        """
        missed = self.missed if videos is None else self.missed[:, videos]
        count = missed.shape[1]
        allowed = most_misses(count, promise.agreement, promise.confidence)
        promise.check(count, f"there are {count:,}")
        failing = np.flatnonzero(missed.sum(axis=1) > allowed)
        # The first threshold looks at every view and misses nothing.
        return int(failing[0]) - 1 if len(failing) else len(self.thresholds) - 1

    def curve(self, confidence: float) -> tuple[Point, ...]:
        """What the policy of each threshold did."""
        count = self.views.shape[1]
        return tuple(
            Point(
                threshold=threshold,
                agreement=1 - int(misses) / count,
                low=lower_bound(count - int(misses), count, confidence),
                views=float(views.mean()),
                views_sd=float(views.std()),
            )
            for threshold, misses, views in zip(
                self.thresholds.tolist(), self.missed.sum(axis=1), self.views, strict=True
            )
        )
