"""Finds groups of videos that are near-duplicates of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.embeddings.cosine import exact_cosines, unit_rows
from pipeline.embeddings.similar_pairs import MOST_PRODUCTS, SimilarPairs, groups_of, similar_pairs
from pipeline.embeddings.video_means import VideoEmbeddings, collected, read_video_embeddings
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.search.video_rows import VideoRow, rows_of
from pipeline.statistics import Estimate, share

MOST_PAIRS = 1_000_000
_RANDOM_PAIRS = 10_000


@dataclass(frozen=True)
class Duplicate:
    """A video of a group.

    Attributes:
        video: the video.
        cosine: the largest with another one of the group.
    """

    video: VideoRow
    cosine: float


@dataclass(frozen=True)
class Background:
    """Cosines of random pairs of videos: how much a threshold means in this run.

    Attributes:
        median: of the cosines.
        above: share of the pairs that reach the threshold.
    """

    median: float
    above: Estimate


@dataclass(frozen=True)
class DuplicateGroups:
    """Groups of videos that chains of near pairs connect.

    Attributes:
        threshold: the cosine of the mean embeddings that makes two videos a pair.
        groups: the largest first; the videos of each in the order of the run.
        searched: number of videos that were compared.
        pairs: number of pairs that were found.
        complete: whether the search went to its end.
        recall: share of all pairs that were found; None if all were.
        background: cosines of random pairs; None of fewer than three videos.
        unusable: number of videos whose embeddings are all zero or not finite.
    """

    threshold: float
    groups: tuple[tuple[Duplicate, ...], ...]
    searched: int
    pairs: int
    complete: bool
    recall: Estimate | None
    background: Background | None
    unusable: int

    @property
    def members(self) -> int:
        """Number of videos in groups."""
        return sum(map(len, self.groups))


def check_threshold(threshold: float) -> None:
    """Refuses what is no cosine of near-duplicates.

    Raises:
        UsageError: it is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise UsageError(
            f"--duplicates must be a cosine above 0 and at most 1, such as 0.98; got {threshold:g}"
        )


def find_duplicates(
    run: RunDirectory, threshold: float, *, exact: bool = False, most_pairs: int = MOST_PAIRS
) -> DuplicateGroups:
    """Groups of videos whose mean embeddings have a cosine of `threshold` or more.

    Means are compared, not views: a copy, or a video that was encoded again, has nearly the same
    mean, while different videos may share a view, such as a black one.

    Args:
        run: a finished run that stores embeddings.
        threshold: above 0, at most 1.
        exact: compare all pairs, however long that takes.
        most_pairs: number of pairs after which the search ends.

    Raises:
        UsageError: the threshold is none, or the run stores no embeddings.
    """
    check_threshold(threshold)
    videos = collected(read_video_embeddings(run))
    products = math.inf if exact else MOST_PRODUCTS
    pairs = similar_pairs(videos.vectors, threshold, most=most_pairs, most_products=products)
    return DuplicateGroups(
        threshold=threshold,
        groups=_groups(run, videos, pairs),
        searched=len(videos),
        pairs=len(pairs.first),
        complete=pairs.complete,
        recall=pairs.recall,
        background=_background(videos, threshold),
        unusable=pairs.unusable,
    )


def _groups(
    run: RunDirectory, videos: VideoEmbeddings, pairs: SimilarPairs
) -> tuple[tuple[Duplicate, ...], ...]:
    largest = np.full(len(videos), -1.0)
    for places in (pairs.first, pairs.second):
        np.maximum.at(largest, places, pairs.cosines)
    groups = groups_of(pairs, len(videos))
    rows = rows_of(run, [videos.video_ids[place] for group in groups for place in group])
    found = (
        tuple(
            Duplicate(rows[video], float(largest[place]))
            for place in group
            if (video := videos.video_ids[place]) in rows
        )
        for group in groups
    )
    return tuple(sorted(found, key=len, reverse=True))


def _background(videos: VideoEmbeddings, threshold: float) -> Background | None:
    usable = [
        start + np.flatnonzero(unit_rows(videos.vectors[start : start + 8192])[1])
        for start in range(0, len(videos), 8192)
    ]
    places = np.concatenate([np.zeros(0, np.int64), *usable])
    if len(places) < 3:
        return None
    draw = np.random.default_rng(0)
    first = draw.integers(0, len(places), _RANDOM_PAIRS)
    second = (first + draw.integers(1, len(places), _RANDOM_PAIRS)) % len(places)
    cosines = exact_cosines(videos.vectors[places[first]], videos.vectors[places[second]])
    return Background(
        float(np.median(cosines)), share(int((cosines >= threshold).sum()), len(cosines))
    )
