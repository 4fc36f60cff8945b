"""How the labels of two runs differ: classes that grew, shrank, appeared and vanished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.embeddings.sampling import is_held_out
from pipeline.statistics import Estimate, fisher_exact, holm, share_difference

# Chance that a class is named though no share changed.
LEVEL = 0.05

Change = Literal["appeared", "grew", "shrank", "vanished"]


@dataclass
class LabelCounts:
    """Labels of a run, by the half that each video belongs to; see `sampling.SampledUnit`.

    Attributes:
        looked: of the half that tells which classes grew.
        held_out: of the half by which that is measured.
    """

    looked: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)

    def add(self, video_ids: Sequence[str], labels: Sequence[str]) -> None:
        """Adds the labels of n videos, one each."""
        for video_id, label in zip(video_ids, labels, strict=True):
            (self.held_out if is_held_out(video_id) else self.looked)[label] += 1

    @property
    def total(self) -> Counter[str]:
        """Of both halves."""
        return self.looked + self.held_out


@dataclass(frozen=True)
class ClassShift:
    """The share of one class in both runs.

    Attributes:
        label: the class.
        reference: videos of the reference run that have it.
        today: videos of today's run that have it.
        difference: today's share minus the reference's, with Newcombe's interval.
        p_value: of Fisher's exact test, adjusted by Holm for the number of classes.
    """

    label: str
    reference: int
    today: int
    difference: Estimate
    p_value: float

    @property
    def is_certain(self) -> bool:
        """Whether the share changed, by more than chance among all classes gives."""
        return self.p_value < LEVEL

    @property
    def change(self) -> Change:
        """What became of the class."""
        if not self.reference:
            return "appeared"
        if not self.today:
            return "vanished"
        return "grew" if self.difference.value > 0 else "shrank"


@dataclass(frozen=True)
class LabelShift:
    """How far the labels of two runs differ.

    Attributes:
        reference: labels of the reference run.
        today: labels of today's run.
        distance: total variation distance of the shares: the share of the videos that would have to
            change their class. The classes that grew are those of one half of the videos, and by
            how much they did is measured on the other: at most the true distance, on average, and
            no more than chance above 0 where nothing changed. (The sum over all classes of what
            each differs by grows with the number of classes, also where nothing changed.)
        classes: every class that occurs, those that certainly changed first, by their difference.
    """

    reference: int
    today: int
    distance: Estimate
    classes: tuple[ClassShift, ...]

    @property
    def certain(self) -> tuple[ClassShift, ...]:
        """The classes whose share changed."""
        return tuple(each for each in self.classes if each.is_certain)


def label_shift(reference: LabelCounts, today: LabelCounts) -> LabelShift:
    """Compares the labels of two runs.

    Videos count as independent. Videos that both runs hold make the intervals wider than need be.

    Raises:
        ValueError: a run has no labels.
    """
    old, new = reference.total, today.total
    before, now = old.total(), new.total()
    if not before or not now:
        raise ValueError("a run without labels has no shares to compare")
    names = sorted({*old, *new})
    found = [fisher_exact(new[name], now, old[name], before) for name in names]
    classes = [
        ClassShift(
            label=name,
            reference=old[name],
            today=new[name],
            difference=share_difference(new[name], now, old[name], before),
            p_value=float(p_value),
        )
        for name, p_value in zip(names, holm(np.array(found)), strict=True)
    ]
    classes.sort(key=lambda each: (not each.is_certain, -abs(each.difference.value), each.label))
    return LabelShift(before, now, _distance(reference, today), tuple(classes))


def _distance(reference: LabelCounts, today: LabelCounts) -> Estimate:
    sizes = max(today.looked.total(), 1), max(reference.looked.total(), 1)
    grown = [
        name
        for name, count in today.looked.items()
        if count / sizes[0] > reference.looked[name] / sizes[1]
    ]
    found = share_difference(
        sum(today.held_out[name] for name in grown),
        today.held_out.total(),
        sum(reference.held_out[name] for name in grown),
        reference.held_out.total(),
    )
    # A distance is never negative: the interval of a negative measurement is moved up to 0, so that
    # it stays as wide as it is. np.maximum keeps the nan of a half without videos.
    up = float(np.maximum(-found.value, 0.0))
    low = float(np.maximum(found.low, 0.0))
    return Estimate(found.value + up, low, found.high + up, found.count)
