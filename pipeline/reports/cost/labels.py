"""Agreement of the labels of two models on the same videos, and accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.cost.runs import ComparedRun
from pipeline.reports.cost.units import labeled_units
from pipeline.statistics import (
    Estimate,
    Floats,
    jensen_shannon,
    mean_difference,
    ratio,
    share,
    top_overlap,
)

SHOWN = 20

# A bootstrap over as many groups as this, each of many units, gives the interval that one over the
# units gives, in a bounded time.
_GROUPS = 10_000
# Divergences that are computed at a time: some ten MB of 400 classes.
_ROWS = 4096

_VIEW_FIELDS = ("clip", "crop", "label_id", "top_ids")
_SHADOW = [
    "label_id",
    "top_ids",
    "scores",
    "unpruned_label_id",
    "unpruned_top_ids",
    "unpruned_scores",
]


@dataclass(frozen=True)
class Differing:
    """A unit with different labels or scores in the two runs.

    Attributes:
        video_id: of which video.
        start_s: where in it the unit begins; None for a whole video.
        ground_truth: the ground truth, None if none was given.
        divergence: of the scores, bits.
        reference_label: the reference's label.
        reference_score: its probability.
        label: this run's label.
        score: its probability.
    """

    video_id: str
    start_s: float | None
    ground_truth: str | None
    divergence: float
    reference_label: str
    reference_score: float
    label: str
    score: float

    def rank(self) -> tuple[bool, float]:
        """Sorts other labels before equal ones, each by falling divergence."""
        return self.label == self.reference_label, -self.divergence


@dataclass(frozen=True)
class Agreement:
    """Agreement over units, or over clips of dense labeling.

    Attributes:
        units: units that both labeled.
        compared: what `top1` and `top5` are over: `videos` or `clips`.
        top1: share with the same label.
        top5: share of the five most probable classes that both have.
        divergence: Jensen-Shannon divergence of the units' scores, bits.
        differing: the units that differ most, those with another label first.
    """

    units: int
    compared: str
    top1: Estimate
    top5: Estimate
    divergence: Estimate
    differing: tuple[Differing, ...] = ()


@dataclass
class _UnitSums:
    """Numbers of each unit, as parts of a run come: hits and overlap of how many, divergence."""

    hits: list[Floats] = field(default_factory=list)
    overlap: list[Floats] = field(default_factory=list)
    count: list[Floats] = field(default_factory=list)
    divergence: list[Floats] = field(default_factory=list)

    def add(self, *numbers: Floats) -> None:
        """Hits, overlap, count and divergence of some units, (n,) each."""
        for kept, values in zip(vars(self).values(), numbers, strict=True):
            kept.append(values)

    def agreement(self, *, clustered: bool, differing: Iterable[Differing] = ()) -> Agreement:
        hits, overlap, count, divergence = (
            np.concatenate(each) if each else np.zeros(0)
            for each in (self.hits, self.overlap, self.count, self.divergence)
        )
        same = _ratio(hits, count) if clustered else share(int(hits.sum()), len(hits))
        return Agreement(
            units=len(hits),
            compared="clips" if clustered else "videos",
            top1=same,
            top5=_ratio(overlap, count),
            divergence=_ratio(divergence, _ones(len(divergence))),
            differing=tuple(differing),
        )


def agreement(
    pairs: Iterable[tuple[pa.Table, pa.Table]], labels: list[str], *, clustered: bool
) -> Agreement:
    """Agreement of pairs of tables, row by row.

    Args:
        pairs: the reference's rows and this run's, as `units.joined` gives them.
        labels: names of the classes.
        clustered: whether labels are compared clip by clip, those of a unit drawn together.
    """
    sums, differing = _UnitSums(), list[Differing]()
    for reference, run in pairs:
        if not reference.num_rows:
            continue
        if clustered:
            hits, overlap, count = _by_clip(reference["views"], run["views"])
        else:
            hits = _equal(reference["label_id"], run["label_id"])
            overlap = top_overlap(_matrix(reference["top_ids"]), _matrix(run["top_ids"]))
            count = _ones(len(hits))
        divergence = _divergence(reference["scores"], run["scores"])
        sums.add(hits, overlap, count, divergence)
        differing += _most(reference, run, divergence, labels)
        differing = sorted(differing, key=Differing.rank)[:SHOWN]
    return sums.agreement(clustered=clustered, differing=differing)


def unpruned_agreement(run: ComparedRun) -> Agreement | None:
    """Agreement of a run with the unpruned model on its shadow sample; None if it has none."""
    if not run.identity.shadow_share:
        return None
    views = ["views.list.element.label_id", "views.list.element.unpruned_label_id"]
    columns = _SHADOW + (views if run.has_segments else [])
    sums = _UnitSums()
    for table in labeled_units(run, columns):
        table = table.filter(pc.is_valid(table["unpruned_label_id"]))
        if not table.num_rows:
            continue
        overlap = top_overlap(_matrix(table["unpruned_top_ids"]), _matrix(table["top_ids"]))
        if run.has_segments:
            hits, count = _shadow_by_clip(table["views"])
            overlap = overlap * count
        else:
            hits = _equal(table["unpruned_label_id"], table["label_id"])
            count = _ones(len(hits))
        divergence = _divergence(table["unpruned_scores"], table["scores"])
        sums.add(hits, overlap, count, divergence)
    return sums.agreement(clustered=run.has_segments)


def accuracy(correct: npt.NDArray[np.int8], judged: npt.NDArray[np.bool_]) -> Estimate:
    """Share of the judged videos that are correct; `correct` and `judged` are (videos,)."""
    return share(int((correct[judged] == 1).sum()), int(judged.sum()))


def paired_difference(
    reference: npt.NDArray[np.int8], run: npt.NDArray[np.int8], judged: npt.NDArray[np.bool_]
) -> Estimate:
    """Accuracy of a run less that of the reference on the same videos, with its interval.

    See `statistics.mean_difference`.
    """
    won = (run == 1) & (reference == 0)
    lost = (run == 0) & (reference == 1)
    return mean_difference(won[judged].astype(np.float64) - lost[judged])


def _ratio(parts: Floats, wholes: Floats) -> Estimate:
    """`agreement.ratio`, over groups of units where there are many; `count` tells the units."""
    if len(parts) <= _GROUPS:
        return ratio(parts, wholes)
    group = np.arange(len(parts)) % _GROUPS
    found = ratio(_summed(group, parts, _GROUPS), _summed(group, wholes, _GROUPS))
    return Estimate(found.value, found.low, found.high, len(parts))


def _ones(count: int) -> Floats:
    return np.ones(count)


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.equal(one, other)).astype(np.float64)


def _matrix(lists: pa.ChunkedArray) -> npt.NDArray[Any]:
    """(n, k) of n lists of k numbers each."""
    flat = np.asarray(pc.list_flatten(lists))
    return flat.reshape(len(lists), -1)


def _divergence(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Floats:
    """(n,) bits between n rows of scores."""
    p, q = _matrix(one), _matrix(other)
    starts = range(0, len(p), _ROWS)
    return np.concatenate([jensen_shannon(p[s : s + _ROWS], q[s : s + _ROWS]) for s in starts])


def _by_clip(one: pa.ChunkedArray, other: pa.ChunkedArray) -> tuple[Floats, Floats, Floats]:
    """(units,) clips with the same label, overlap of their top classes, and clips in both."""
    (unit, key, label, top), (_, its_key, its_label, its_top) = _views(one), _views(other)
    _, mine, its = np.intersect1d(key, its_key, assume_unique=True, return_indices=True)
    hits = (label[mine] == its_label[its]).astype(np.float64)
    overlap = top_overlap(top[mine], its_top[its])
    place, units = unit[mine], len(one)
    ones = _ones(len(place))
    return _summed(place, hits, units), _summed(place, overlap, units), _summed(place, ones, units)


def _views(views: pa.ChunkedArray) -> tuple[npt.NDArray[Any], ...]:
    """Of every view: its unit's row, a key that is the same in both runs, label and top classes."""
    combined = views.combine_chunks()
    unit = np.asarray(pc.list_parent_indices(combined)).astype(np.int64)
    flat = pc.list_flatten(combined)
    clip, crop, label, top = (pc.struct_field(flat, name) for name in _VIEW_FIELDS)
    key = (unit << 40) + (np.asarray(clip).astype(np.int64) << 8) + np.asarray(crop)
    return unit, key, np.asarray(label), _matrix(top)


def _shadow_by_clip(views: pa.ChunkedArray) -> tuple[Floats, Floats]:
    """(units,) views with the label of the unpruned model, and views."""
    combined = views.combine_chunks()
    unit = np.asarray(pc.list_parent_indices(combined)).astype(np.int64)
    flat = pc.list_flatten(combined)
    same = _equal(pc.struct_field(flat, "label_id"), pc.struct_field(flat, "unpruned_label_id"))
    ones = _ones(len(unit))
    return _summed(unit, same, len(views)), _summed(unit, ones, len(views))


def _summed(places: npt.NDArray[np.int64], values: Floats, count: int) -> Floats:
    """(count,) sums of the values at equal places."""
    return np.asarray(np.bincount(places, weights=values, minlength=count), dtype=np.float64)


def _most(
    reference: pa.Table, run: pa.Table, divergence: Floats, labels: list[str]
) -> list[Differing]:
    """The units of these rows that differ most: other labels first, then by divergence."""
    same = _equal(reference["label_id"], run["label_id"])
    chosen = np.lexsort((-divergence, same))[:SHOWN]
    columns = ["video_id", "start_s", "ground_truth", "label_id", "score"]
    of_reference = reference.select(columns).take(chosen).to_pylist()
    of_run = run.select(columns).take(chosen).to_pylist()
    return [
        Differing(
            video_id=one["video_id"],
            start_s=one["start_s"],
            ground_truth=one["ground_truth"],
            divergence=float(divergence[row]),
            reference_label=labels[one["label_id"]],
            reference_score=one["score"],
            label=labels[other["label_id"]],
            score=other["score"],
        )
        for row, one, other in zip(chosen, of_reference, of_run, strict=True)
        if divergence[row] > 0 or one["label_id"] != other["label_id"]
    ]
