"""Chooses which of many videos to label next: uncertain ones, far ones, and those of clusters.

A model learns most from what it is not sure of, but the least certain videos are much alike. So
three rules choose in turn, and each knows what was chosen before: the smallest margin (D. Lewis and
W. Gale, A sequential algorithm for training text classifiers, 1994), with a quota of each cluster;
the video farthest from all that is labeled or chosen (O. Sener and S. Savarese, Active learning for
convolutional neural networks: a core-set approach, 2018); and the middle of the cluster that has
the fewest labels for its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.embeddings.cells import fit_centers, nearest_centers
from pipeline.embeddings.cosine import Bools, Floats, Ints, unit_rows
from workers.embeddings import Vectors

Reason = Literal["uncertain", "far", "cluster"]

# Half of the videos are uncertain ones; any first part of the list has this mix.
_TURNS: tuple[Reason, ...] = ("uncertain", "cluster", "uncertain", "far")
_PER_CLUSTER = 4
_MOST_CLUSTERS = 64
_SAMPLE = 20_000
# A nearly equal video teaches nothing new.
_ALIKE = 0.995


@dataclass(frozen=True)
class Pick:
    """A video that was chosen.

    Attributes:
        place: its number.
        reason: which rule chose it.
        value: "uncertain": its margin, 0 to 1; "far": its largest cosine with what is labeled or
            was chosen before; "cluster": the number of videos in its cluster.
        cluster: number of its cluster, from 1.
    """

    place: int
    reason: Reason
    value: float
    cluster: int


def choose(
    vectors: Vectors, margins: Floats, count: int, *, labeled: Vectors | None = None
) -> list[Pick]:
    """Chooses up to `count` videos, the same ones each time.

    Args:
        vectors: float16 (n, d), mean embeddings of the videos that may be chosen. Those that are
            all zero or not finite are not chosen.
        margins: (n,) difference of the two highest probabilities of each, 0 to 1.
        count: how many to choose.
        labeled: float16 (m, d), mean embeddings of videos that have labels.
    """
    usable = np.flatnonzero(unit_rows(vectors)[1])
    if not len(usable) or count < 1:
        return []
    made = _Choice(vectors[usable], margins[usable], count, labeled)
    picks: list[Pick] = []
    while len(picks) < min(count, len(usable)):
        found = made.next(_TURNS[len(picks) % len(_TURNS)])
        picks.append(Pick(int(usable[found.place]), found.reason, found.value, found.cluster))
    return picks


class _Choice:
    """What was chosen so far, and how far the others are from it."""

    def __init__(
        self, vectors: Vectors, margins: Floats, count: int, labeled: Vectors | None
    ) -> None:
        self._units, _ = unit_rows(vectors)
        self._order = np.argsort(margins, kind="stable")
        self._margins = margins
        self._free: Bools = np.ones(len(vectors), bool)
        self._nearest: Floats = np.full(len(vectors), -1.0, np.float32)
        sample = np.sort(np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE])
        wanted = int(np.clip(count // _PER_CLUSTER, 1, _MOST_CLUSTERS))
        self._centers = fit_centers(vectors[sample], wanted)
        self._cluster, self._to_center = nearest_centers(vectors, self._centers)
        clusters = len(self._centers)
        self._sizes = np.bincount(self._cluster, minlength=clusters)
        self._covered: Ints = np.zeros(clusters, np.int64)
        self._uncertain: Ints = np.zeros(clusters, np.int64)
        self._quota = max(1, -(-count // clusters))
        if labeled is not None and len(labeled):
            units, usable = unit_rows(labeled)
            for start in range(0, len(units), 256):
                near = (self._units @ units[start : start + 256].T).max(axis=1)
                self._nearest = np.maximum(self._nearest, near)
            known, cosines = nearest_centers(labeled[usable], self._centers)
            # A label far outside of a cluster says nothing of it.
            edges: Floats = np.full(clusters, np.inf, np.float32)
            np.minimum.at(edges, self._cluster, self._to_center)
            self._covered += np.bincount(known[cosines >= edges[known]], minlength=clusters)

    def next(self, reason: Reason) -> Pick:
        place = {"uncertain": self._least_certain, "far": self._farthest, "cluster": self._middle}[
            reason
        ]()
        cluster = int(self._cluster[place])
        value = {
            "uncertain": float(self._margins[place]),
            "far": float(self._nearest[place]),
            "cluster": float(self._sizes[cluster]),
        }[reason]
        self._free[place] = False
        self._covered[cluster] += 1
        self._uncertain[cluster] += reason == "uncertain"
        self._nearest = np.maximum(self._nearest, self._units @ self._units[place])
        return Pick(place, reason, value, cluster + 1)

    def _least_certain(self) -> int:
        free = self._free[self._order]
        few = self._uncertain[self._cluster[self._order]] < self._quota
        new = self._nearest[self._order] < _ALIKE
        for wanted in (free & few & new, free & new, free):
            if wanted.any():
                return int(self._order[wanted.argmax()])
        raise AssertionError("a video is free")

    def _farthest(self) -> int:
        return int(np.where(self._free, self._nearest, np.inf).argmin())

    def _middle(self) -> int:
        left = np.bincount(self._cluster[self._free], minlength=len(self._sizes))
        need = np.where(left > 0, self._sizes / (1 + self._covered), -1)
        inside = self._free & (self._cluster == need.argmax())
        return int(np.where(inside, self._to_center, -np.inf).argmax())
