"""How far scores can be trusted: the temperature that calibrates them, and their error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.heads.samples import Bools, Floats, LabeledFeatures, Targets
from sta.heads import HeadKind

_LOWEST, _HIGHEST = 1e-3, 1e3
_BINS = 10
_DRAWS = 200


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error, 0 to 1, at temperature 1 and at the fitted one.

    Attributes:
        before: at temperature 1.
        after: at temperatures that were fitted without the videos at hand.
        by_chance: what exact scores show on average with as many videos.
    """

    before: float
    after: float
    by_chance: float


def scores_of(logits: Floats, kind: HeadKind) -> Floats:
    """(n, c) probabilities of logits (n, c)."""
    if kind == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: Floats, features: LabeledFeatures, targets: Targets) -> float:
    """The temperature with the smallest log loss of probabilities that are averaged over views.

    C. Guo et al., On calibration of modern neural networks, 2017. Each video counts as a little of
    every other outcome too, so that videos that are all classified correctly do not make scores of
    1 of everything.

    Args:
        logits: (v, c) of the views, of models that were trained without them.
        features: of the n videos.
        targets: their labels.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: log_loss(logits / np.exp(log), features, targets),
        bounds=(np.log(_LOWEST), np.log(_HIGHEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def log_loss(logits: Floats, features: LabeledFeatures, targets: Targets) -> float:
    """Mean over videos of the smoothed log loss of averaged probabilities, nats."""
    scores = features.averaged(scores_of(logits, targets.kind))
    scores = np.clip(scores, 1e-12, 1.0)
    smoothing = 1 / (len(targets) + 2)
    wanted = (1 - smoothing) * targets.matrix
    if targets.kind == "softmax":
        wanted = wanted + smoothing / len(targets.classes)
        return float(-(wanted * np.log(scores)).sum(axis=1).mean())
    wanted = wanted + smoothing / 2
    other = np.log(np.clip(1 - scores, 1e-12, 1.0))
    return float(-(wanted * np.log(scores) + (1 - wanted) * other).sum(axis=1).mean())


def calibration_error(confidence: Floats, correct: Bools) -> float:
    """Expected calibration error: the mean difference of score and accuracy, over ten equal bins of
    the score, weighted by how many fall into each.

    M. P. Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, 2015.

    Args:
        confidence: (n,) scores.
        correct: (n,) whether each was right.
    """
    if not len(confidence):
        return float("nan")
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def error_by_chance(scores: Floats, targets: Targets, draw: np.random.Generator) -> float:
    """The mean `error_of` if the scores were exact, with labels drawn by them."""
    if not len(scores):
        return float("nan")
    confidence = scores.ravel() if targets.kind == "sigmoid" else scores.max(axis=1)
    drawn = (draw.random(len(confidence)) < confidence for _ in range(_DRAWS))
    return float(np.mean([calibration_error(confidence, each) for each in drawn]))


def error_of(scores: Floats, targets: Targets) -> float:
    """`calibration_error` of the scores of videos (n, c): of the best class of each, or of all
    classes where labels are independent.
    """
    if targets.kind == "sigmoid":
        return calibration_error(scores.ravel(), targets.matrix.ravel())
    return calibration_error(scores.max(axis=1), scores.argmax(axis=1) == targets.codes)
