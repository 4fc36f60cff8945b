"""Accuracy of predictions for held-out videos: overall, per class, and what is confused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.heads.samples import Floats, Targets
from pipeline.statistics import Estimate, ratio, share, weighted_share

_THRESHOLD = 0.5
_PAIRS = 10


@dataclass(frozen=True)
class ClassMeasure:
    """How well one class is found.

    Attributes:
        name: of the class.
        labels: videos with it.
        held_out: of them, those that were predicted by a head that had not seen them.
        found: of these, those that got the label.
        false: videos without the label that got it.
        average_precision: of the ranking by score, 0 to 1, for independent labels; None where no
            video has the class or all have.
    """

    name: str
    labels: int
    held_out: int
    found: int
    false: int
    average_precision: float | None = None

    @property
    def accuracy(self) -> Estimate:
        """Share of the class's held-out videos that got its label."""
        return share(self.found, self.held_out)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where the class never occurs."""
        wrong = self.false + self.held_out - self.found
        total = 2 * self.found + wrong
        return 2 * self.found / total if total else None


@dataclass(frozen=True)
class Confusion:
    """Videos of one class that got the label of another.

    Attributes:
        truth: the class.
        predicted: the label.
        videos: how many.
    """

    truth: str
    predicted: str
    videos: int


@dataclass(frozen=True)
class Accuracy:
    """How good the predictions for held-out videos are.

    Attributes:
        overall: share of videos with the correct label; of independent labels the micro-F1.
        per_class: mean of the classes' accuracies; of independent labels the mean average
            precision, without an interval.
        most_frequent: what labeling all videos with the most frequent class would give; None for
            independent labels.
        classes: one each, sorted by name.
        confusions: the most frequent ones, for one label per video.
    """

    overall: Estimate
    per_class: Estimate
    most_frequent: float | None
    classes: tuple[ClassMeasure, ...]
    confusions: tuple[Confusion, ...]


def hits_of(scores: Floats, targets: Targets) -> tuple[Floats, Floats]:
    """What each video adds to the numerator and to the denominator of the overall accuracy.

    Args:
        scores: (n, c) probabilities.
        targets: labels of the n videos.

    Returns:
        (n,) and (n,): 1 or 0 of 1; of independent labels those of micro-F1.
    """
    if targets.kind == "softmax":
        return (scores.argmax(axis=1) == targets.codes).astype(np.float64), np.ones(len(scores))
    given = scores >= _THRESHOLD
    found = 2.0 * (given & targets.matrix).sum(axis=1)
    return found, given.sum(axis=1) + targets.matrix.sum(axis=1, dtype=np.float64)


def accuracy_of(scores: Floats, targets: Targets, labels: np.ndarray) -> Accuracy:
    """Measures predictions.

    Args:
        scores: (m, c) probabilities of held-out videos.
        targets: their labels.
        labels: (c,) labeled videos of each class, with those that were never held out.
    """
    parts, wholes = hits_of(scores, targets)
    given = _given(scores, targets)
    classes = tuple(
        ClassMeasure(
            name=name,
            labels=int(labels[number]),
            held_out=int(targets.matrix[:, number].sum()),
            found=int((given & targets.matrix)[:, number].sum()),
            false=int((given & ~targets.matrix)[:, number].sum()),
            average_precision=_average_precision(scores, targets, number),
        )
        for number, name in enumerate(targets.classes)
    )
    if targets.kind == "sigmoid":
        known = [each.average_precision for each in classes if each.average_precision is not None]
        value = float(np.mean(known)) if known else float("nan")
        per_class = Estimate(value, float("nan"), float("nan"), len(known))
        return Accuracy(ratio(parts, wholes), per_class, None, classes, ())
    counts = targets.counts
    weights = 1 / counts[targets.codes]
    frequent = float(counts.max() / counts.sum()) if counts.sum() else None
    return Accuracy(
        share(int(parts.sum()), len(parts)),
        weighted_share(parts, weights),
        frequent,
        classes,
        _confusions(scores, targets),
    )


def _given(scores: Floats, targets: Targets) -> np.ndarray:
    """bool (m, c), the labels that scores give."""
    if targets.kind == "sigmoid":
        return np.asarray(scores >= _THRESHOLD)
    given = np.zeros(scores.shape, bool)
    if len(scores):
        given[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return given


def _average_precision(scores: Floats, targets: Targets, number: int) -> float | None:
    has = targets.matrix[:, number]
    if targets.kind == "softmax" or has.all() or not has.any():
        return None
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(has, scores[:, number]))


def _confusions(scores: Floats, targets: Targets) -> tuple[Confusion, ...]:
    pairs = zip(targets.codes.tolist(), scores.argmax(axis=1).tolist(), strict=True)
    counted = Counter((truth, label) for truth, label in pairs if truth != label)
    first = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]
    names = targets.classes
    return tuple(Confusion(names[truth], names[label], count) for (truth, label), count in first)
