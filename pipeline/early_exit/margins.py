"""What was known of videos after each of their views, in the order in which they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.inference.early_exit import EarlyExit, margins

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Looks:
    """What was known of n videos after each view.

    Attributes:
        margins: (n, views) float64, of the best class over the second.
        labels: (n, views) int64, the best class; ties go to the lower.
    """

    margins: Floats
    labels: Ints

    def __post_init__(self) -> None:
        if self.margins.shape != self.labels.shape or self.margins.ndim != 2:
            raise ValueError(
                f"margins and labels must both be (videos, views); got {self.margins.shape} and "
                f"{self.labels.shape}"
            )

    @property
    def videos(self) -> int:
        """How many videos."""
        return len(self.margins)

    @property
    def views(self) -> int:
        """Views of each."""
        return int(self.margins.shape[1])

    @property
    def agreeing(self) -> Bools:
        """(n, views) whether the label after a view is that of all views."""
        return np.asarray(self.labels == self.labels[:, -1:])

    def of(self, chosen: Bools | Ints) -> Looks:
        """Those of some of the videos."""
        return Looks(self.margins[chosen], self.labels[chosen])

    @classmethod
    def of_probabilities(cls, probabilities: Floats, order: Sequence[int]) -> Looks:
        """What was known of videos whose every view was labeled.

        Args:
            probabilities: (n, views, classes), clip by clip and crop by crop.
            order: numbers of the views in the order in which they are looked at.
        """
        count, views, _ = probabilities.shape
        if sorted(order) != list(range(views)):
            raise ValueError(f"order must name each of {views} views once; got {list(order)}")
        known = np.empty((count, views))
        for number, ordered in enumerate(probabilities[:, list(order)]):
            known[number] = margins(ordered)
        labels = np.empty((count, views), np.int64)
        for seen in range(1, views + 1):
            # Added up clip by clip, as the labeling job does, so that equal sums stay equal.
            looked_at = probabilities[:, sorted(order[:seen])]
            labels[:, seen - 1] = looked_at.mean(axis=1, dtype=np.float64).argmax(axis=1)
        return cls(known, labels)

    @classmethod
    def joined(cls, parts: Sequence[Looks]) -> Looks:
        """Several one after the other."""
        return cls(
            np.concatenate([part.margins for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )


def views_used(looks: Looks, threshold: float) -> Ints:
    """(n,) views that the policy of this threshold looks at."""
    seen = np.tile(np.arange(1, looks.views + 1), looks.videos)
    settled = EarlyExit(threshold).should_stop_each(
        looks.margins.ravel(), seen=seen, views=looks.views
    )
    return np.asarray(settled.reshape(looks.margins.shape).argmax(axis=1) + 1)
