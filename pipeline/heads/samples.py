"""What a head is trained on: the features of labeled videos, and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sta.heads import HeadKind

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabeledFeatures:
    """Features of the views of n videos, v views in all.

    Attributes:
        video_ids: (n,) the videos, sorted.
        views: float16 (v, d), the views of a video together, in the order of `video_ids`.
        starts: (n + 1,) index of the first view of each video, and v.
    """

    video_ids: tuple[str, ...]
    views: npt.NDArray[np.float16]
    starts: Ints

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.video_ids) + 1 or self.starts[-1] != len(self.views):
            raise ValueError("starts must have one index more than video_ids, and end with v")
        if (np.diff(self.starts) < 1).any():
            raise ValueError("each video must have a view")

    def __len__(self) -> int:
        return len(self.video_ids)

    @cached_property
    def means(self) -> Floats:
        """(n, d) mean of the views of each video."""
        spans = zip(self.starts[:-1], self.starts[1:], strict=True)
        means: Floats = np.stack([self.views[a:b].mean(axis=0, dtype=np.float64) for a, b in spans])
        return means

    def at(self, videos: Ints) -> LabeledFeatures:
        """The features of some of the videos, by index."""
        counts = np.diff(self.starts)[videos]
        rows = [np.arange(self.starts[each], self.starts[each + 1]) for each in videos]
        return LabeledFeatures(
            tuple(self.video_ids[each] for each in videos),
            self.views[np.concatenate(rows)],
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def averaged(self, values: npt.NDArray[np.floating]) -> Floats:
        """(n, c) means per video of values (v, c) of views."""
        sums = np.add.reduceat(values, self.starts[:-1], axis=0, dtype=np.float64)
        return np.asarray(sums / np.diff(self.starts)[:, None])


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of n videos.

    Attributes:
        classes: (c,) names, sorted.
        matrix: bool (n, c), the labels of each video; one each for "softmax".
        kind: of the head that predicts them.
    """

    classes: tuple[str, ...]
    matrix: Bools
    kind: HeadKind

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[1] != len(self.classes):
            raise ValueError(f"matrix must be (n, {len(self.classes)}); got {self.matrix.shape}")
        if self.kind == "softmax" and not (self.matrix.sum(axis=1) == 1).all():
            raise ValueError("each video must have one label")

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def counts(self) -> Ints:
        """(c,) videos with each label."""
        return np.asarray(self.matrix.sum(axis=0), np.int64)

    @property
    def codes(self) -> Ints:
        """(n,) index of the label of each video, for "softmax"."""
        return np.asarray(self.matrix.argmax(axis=1), np.int64)

    @property
    def strata(self) -> Ints:
        """(n,) the class by which a video is assigned to folds: the rarest of its labels; c where
        it has none.
        """
        rarity = np.where(self.matrix, self.counts, np.iinfo(np.int64).max)
        rarest = rarity.argmin(axis=1)
        return np.asarray(np.where(self.matrix.any(axis=1), rarest, len(self.classes)), np.int64)

    def at(self, videos: Ints) -> Targets:
        """The labels of some of the videos, by index; of all classes."""
        return Targets(self.classes, self.matrix[videos], self.kind)
