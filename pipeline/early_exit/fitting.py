"""Fits the early-exit threshold on videos whose views were all evaluated.

A fixed list of thresholds is tested in descending order, each by an exact lower bound of its
agreement at the full confidence, until one fails. The last that passed is chosen. Testing several
thresholds does not weaken the confidence: a wrong choice requires that the first threshold below
the guaranteed agreement passes its test, and the probability of that is at most one test's error
(fixed sequence testing: A. N. Angelopoulos, S. Bates, E. J. Candes, M. I. Jordan, L. Lei, Learn
then Test, 2021, section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.early_exit.binomial import is_provable, lower_bound, max_misses, videos_needed
from pipeline.early_exit.file import OperatingPoint
from pipeline.early_exit.margins import Bools, Floats, Ints, ViewMargins, views_used
from pipeline.errors import UsageError
from workers.inference.early_exit import needed_margin

_MOST, _LEAST, _STEPS = 4.0, 0.005, 160
# A confident model's margins lie this close below 1.
_BELOW_ONE = (0.9, 0.99, 0.999, 0.9999, 0.99999)


@dataclass(frozen=True)
class AgreementGuarantee:
    """The guarantee that a threshold must meet.

    Attributes:
        agreement: the least share of videos that keep the label of all views.
        confidence: probability with which the guarantee holds.
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
        """The fewest videos that prove it, if all agree."""
        return videos_needed(self.agreement, self.confidence)

    def check(self, videos: int, found: str) -> None:
        """Refuses too few videos to prove it.

        Args:
            videos: how many there are.
            found: a clause for the message, such as `there are 300`.

        Raises:
            UsageError: the message says how many are needed.
        """
        if not self.is_provable(videos):
            raise UsageError(
                f"an agreement of {self.agreement:g} at {100 * self.confidence:g} % confidence "
                f"needs at least {self.videos_needed:,} videos, and {found}; use more videos or a "
                f"smaller --agreement"
            )

    def is_provable(self, videos: int) -> bool:
        """Whether this number of videos can prove it."""
        return is_provable(videos, self.agreement, self.confidence)

    def each_of(self, count: int) -> AgreementGuarantee:
        """What each of several candidates must meet, so that this holds whichever is chosen.

        The allowed error is divided among them (C. E. Bonferroni's inequality).
        """
        return replace(self, confidence=1 - (1 - self.confidence) / count)


def thresholds(views: int) -> Floats:
    """(m,) float64 thresholds to test, descending: from all views to a single view.

    They depend on the number of views alone. The first evaluates every view and the last one view.
    Between them lie geometric steps, and finer steps below each threshold at which a margin of 1
    is enough after one view fewer: there, many videos of a confident model stop at once.
    """
    even = np.geomspace(_MOST, _LEAST, _STEPS)
    fine = [below / needed_margin(seen, views) for seen in range(1, views) for below in _BELOW_ONE]
    middle = [threshold for threshold in (*even, *fine) if threshold < min(views, _MOST + 1e-9)]
    # Rounded so that the file shows them as they are.
    chosen = {float(f"{threshold:.6g}") for threshold in middle} | {float(views), 0.0}
    return np.array(sorted(chosen, reverse=True))


@dataclass(frozen=True)
class Trace:
    """Early exit at every threshold, simulated for every video.

    Attributes:
        thresholds: (m,) as `thresholds` gives them.
        views: (m, n) evaluated views.
        missed: (m, n) whether the label differs from the reference.
    """

    thresholds: Floats
    views: Ints
    missed: Bools

    @classmethod
    def of(cls, known: ViewMargins, reference: Ints | None = None) -> Trace:
        """Simulates every threshold on every video.

        Args:
            known: margins and labels of the videos.
            reference: (n,) the labels to keep; None for those of all views.
        """
        tried = thresholds(known.views)
        wanted = known.labels[:, -1] if reference is None else reference
        agreeing, rows = known.labels == wanted[:, None], np.arange(known.videos)
        views = np.empty((len(tried), known.videos), np.int16)
        missed = np.empty((len(tried), known.videos), np.bool_)
        for number, threshold in enumerate(tried.tolist()):
            used = views_used(known, threshold)
            views[number] = used
            missed[number] = ~agreeing[rows, used - 1]
        return cls(tried, views, missed)

    def first(self, count: int) -> Trace:
        """The same for the first thresholds alone."""
        return Trace(self.thresholds[:count], self.views[:count], self.missed[:count])

    def chosen(
        self, guarantee: AgreementGuarantee, videos: npt.NDArray[np.integer] | None = None
    ) -> int | None:
        """Index of the threshold that meets the guarantee with the fewest views.

        None where even all views do not meet it, which is possible only where the reference was
        decoded in another way.

        Args:
            guarantee: what it must meet.
            videos: indices of the videos to fit on, None for all.

        Raises:
            UsageError: too few videos to prove it.
        """
        missed = self.missed if videos is None else self.missed[:, videos]
        count = missed.shape[1]
        allowed = max_misses(count, guarantee.agreement, guarantee.confidence)
        guarantee.check(count, f"there are {count:,}")
        failing = np.flatnonzero(missed.sum(axis=1) > allowed)
        found = int(failing[0]) - 1 if len(failing) else len(self.thresholds) - 1
        return None if found < 0 else found

    def curve(self, confidence: float) -> tuple[OperatingPoint, ...]:
        """Agreement and views at every threshold."""
        count = self.views.shape[1]
        return tuple(
            OperatingPoint(
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
