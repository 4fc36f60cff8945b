"""How the embeddings of two runs differ: their populations, and videos unlike any seen before."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.sampling import SampledUnit, VideoSample
from pipeline.statistics import Estimate, share, share_difference
from workers.embeddings import Vectors

Floats = npt.NDArray[np.float64]

# Below it, a half has too few videos to learn from or to measure by.
LEAST_VIDEOS = 10

# Of the reference's own videos, so many are nearer to their nearest neighbor than the limit.
USUAL_SHARE = 0.95

_BLOCK = 1024
_TINY = 1e-12


def population_shift(reference: VideoSample, today: VideoSample) -> Estimate | None:
    """The share of held-out videos of which a linear classifier tells the run: 50 % where both runs
    are draws of one population, 100 % where they have nothing in common.

    This is the classifier two-sample test (D. Lopez-Paz, M. Oquab, Revisiting classifier two-sample
    tests, 2017). Its statistic reads without a scale of its own, unlike a kernel's or an energy
    distance, and its null needs no permutations: the classifier is fitted on one half of the videos
    and counts on the other, as many of each run, so that without a shift it is right as often as a
    coin, and Wilson's interval holds 50 % in 95 of 100 comparisons. A lower end above 50 % is a
    shift. The classifier is Fisher's linear discriminant, with the covariance shrunken as in
    O. Ledoit, M. Wolf, A well-conditioned estimator for large-dimensional covariance matrices,
    2004. It sees shifts of the mean; one that leaves the mean of every class as it is, it misses.

    Videos count as independent: those of one camera or uploader that come together are a shift.
    Videos that both runs hold are in the same half of each, and tell nothing.

    Returns:
        None where a half of a run has fewer than LEAST_VIDEOS videos.
    """
    halves = [_halves(reference), _halves(today)]
    if min(len(each) for pair in halves for each in pair) < LEAST_VIDEOS:
        return None
    (old_seen, old_held), (new_seen, new_held) = halves
    weights, middle = _discriminant(old_seen, new_seen)
    count = min(len(old_held), len(new_held))
    hits = np.sum((new_held[:count] - middle) @ weights > 0) + np.sum(
        (old_held[:count] - middle) @ weights <= 0
    )
    return share(int(hits), 2 * count)


def _halves(sample: VideoSample) -> tuple[Floats, Floats]:
    """Vectors of the videos to fit on, and of the held-out ones."""
    vectors = sample.vectors().astype(np.float64) if len(sample) else np.zeros((0, 1))
    held_out = np.array([unit.is_held_out for unit in sample.units()], bool)
    return vectors[~held_out], vectors[held_out]


def _discriminant(old: Floats, new: Floats) -> tuple[Floats, Floats]:
    """(d,) weights and (d,) the point between both means; above 0 is the new run."""
    means = old.mean(axis=0), new.mean(axis=0)
    centered = np.concatenate([old - means[0], new - means[1]])
    count, channels = centered.shape
    covariance = centered.T @ centered / count
    scale = np.trace(covariance) / channels
    target = scale * np.eye(channels)
    apart = float(np.sum((covariance - target) ** 2))
    fourth = float(np.mean(np.sum(centered**2, axis=1) ** 2))
    noise = max(0.0, fourth - float(np.sum(covariance**2))) / count
    shrinkage = min(1.0, noise / apart) if apart > 0 else 1.0
    shrunken = (1 - shrinkage) * covariance + shrinkage * target
    shrunken[np.diag_indices(channels)] += _TINY + 1e-6 * scale
    return np.linalg.solve(shrunken, means[1] - means[0]), (means[0] + means[1]) / 2


@dataclass(frozen=True)
class FarUnit:
    """A unit of today's run and its nearest video of the reference sample.

    Attributes:
        distance: 1 - cosine of the nearest.
        video_id: the unit's video.
        unit_id: the unit.
        start_s: where a segment begins in its recording; None for a whole video.
        label: its label.
        nearest: id of that video.
        nearest_label: its label.
    """

    distance: float
    video_id: str
    unit_id: str
    start_s: float | None
    label: str
    nearest: str
    nearest_label: str

    def _key(self) -> tuple[float, str]:
        return self.distance, self.unit_id

    def __lt__(self, other: FarUnit) -> bool:
        return self._key() < other._key()


@dataclass(frozen=True)
class Unseen:
    """Videos of today that are farther from the reference than its own usually are.

    Attributes:
        share: of today's sample; 5 % where both runs are draws of one population.
        difference: this share minus that of the reference's own videos, whose interval holds the
            chance that is in both.
    """

    share: Estimate
    difference: Estimate


class Yardstick:
    """Distances (1 - cosine) to the nearest video of a reference sample, and how large those of the
    reference's own videos to the others are.

    Attributes:
        usual: the median of its own videos' distances.
        limit: USUAL_SHARE of its own videos are nearer, and as many of another draw of the same
            population on average; inf where there are too few to say.
    """

    def __init__(self, reference: VideoSample) -> None:
        if not len(reference):
            raise ValueError("a reference without videos is no yardstick")
        self._units = reference.units()
        self._vectors = _unit_length(reference.vectors())
        count = len(self._units)
        own = np.full(count, np.inf)
        for start in range(0, count, _BLOCK):
            cosines = self._vectors[start : start + _BLOCK] @ self._vectors.T
            rows = np.arange(len(cosines))
            cosines[rows, rows + start] = -np.inf
            own[start : start + _BLOCK] = 1.0 - cosines.max(axis=1)
        self.usual = float(np.median(own)) if count > 1 else math.inf
        rank = math.ceil(USUAL_SHARE * (count + 1))
        self.limit = float(np.sort(own)[rank - 1]) if rank <= count else math.inf
        self._beyond = int((own > self.limit).sum())

    def nearest(self, vectors: npt.NDArray[np.floating]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """((n,) distances, (n,) rows of the sample's units) of vectors (n, d)."""
        distances, places = np.empty(len(vectors)), np.empty(len(vectors), np.int64)
        for start in range(0, len(vectors), _BLOCK):
            some = slice(start, start + _BLOCK)
            cosines = _unit_length(vectors[some].astype(np.float32)) @ self._vectors.T
            places[some] = cosines.argmax(axis=1)
            distances[some] = 1.0 - cosines.max(axis=1)
        return np.maximum(distances, 0.0), places

    def unseen(self, today: VideoSample) -> Unseen | None:
        """How many of today's videos are farther than `limit`; None where there is no limit."""
        if not len(today) or not math.isfinite(self.limit):
            return None
        distances, _ = self.nearest(today.vectors())
        hits, count, own = int((distances > self.limit).sum()), len(distances), len(self._units)
        more = share_difference(hits, count, self._beyond, own)
        return Unseen(share(hits, count), more)

    def video(self, place: int) -> SampledUnit:
        """The video of the sample that `nearest` gave as this row."""
        return self._units[place]


@dataclass
class Farthest:
    """The units of today's run that are farthest from a reference sample, of each video one.

    Attributes:
        yardstick: of the reference sample.
        count: how many are kept.
    """

    yardstick: Yardstick
    count: int = 10
    _kept: dict[str, FarUnit] = field(default_factory=dict)

    def add(
        self,
        video_ids: Sequence[str],
        unit_ids: Sequence[str],
        labels: Sequence[str],
        starts: Sequence[float | None],
        vectors: Vectors,
    ) -> None:
        """Adds n units; for the arguments see `populations.LabeledUnits`."""
        distances, places = self.yardstick.nearest(vectors)
        least = min((unit.distance for unit in self._kept.values()), default=-1.0)
        if len(self._kept) < self.count:
            least = -1.0
        for row in np.flatnonzero(distances >= least).tolist():
            near = self.yardstick.video(int(places[row]))
            unit = FarUnit(
                distance=float(distances[row]),
                video_id=video_ids[row],
                unit_id=unit_ids[row],
                start_s=starts[row],
                label=labels[row],
                nearest=near.video_id,
                nearest_label=near.label,
            )
            known = self._kept.get(unit.video_id)
            if known is None or known < unit:
                self._kept[unit.video_id] = unit
        self._kept = {unit.video_id: unit for unit in self.units()}

    def units(self) -> list[FarUnit]:
        """Them, the farthest first."""
        return heapq.nlargest(self.count, self._kept.values())


def _unit_length(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _TINY), np.float32)
