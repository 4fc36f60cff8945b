"""How accuracy grows with the number of labeled videos, and a forecast for twice as many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.heads.cross_validation import CrossValidation, video_scores
from pipeline.heads.fitting import fit
from pipeline.heads.folds import stratified_subset
from pipeline.heads.measures import hits_of
from pipeline.heads.samples import Floats, LabeledFeatures, Targets
from pipeline.statistics import Estimate, ratio
from sta.heads import FeatureSpec

_SHARES = (0.25, 0.5, 0.75)
_REPEATS = 3
_RESAMPLINGS = 1000
# With fewer held-out videos, a curve shows nothing but chance.
_FEWEST = 20
# Exponents of learning curves that were found on many tasks lie in this range.
_EXPONENTS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy of heads that were trained on so many videos.

    Attributes:
        videos: that each was trained on.
        accuracy: of held-out videos; of independent labels the micro-F1.
    """

    videos: int
    accuracy: Estimate


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy by the number of labeled videos.

    Attributes:
        points: from few videos to those of cross-validation, which are four fifths of all.
        videos: twice the labeled videos.
        forecast: accuracy that a power law through the points gives for them, with an interval for
            the choice of the videos; the law itself may not hold.
    """

    points: tuple[CurvePoint, ...]
    videos: int
    forecast: Estimate


def learning_curve(
    features: LabeledFeatures,
    targets: Targets,
    spec: FeatureSpec,
    validated: CrossValidation,
    draw: np.random.Generator,
) -> LearningCurve | None:
    """The curve by repeated stratified subsets of the training videos of each fold, with its method
    and strength; None where there are too few videos.
    """
    held_out = validated.held_out
    if len(held_out) < _FEWEST:
        return None
    sizes, parts, wholes = [], [], []
    for share in _SHARES:
        trained = []
        hits, counts = np.zeros(len(features)), np.zeros(len(features))
        for fold, method in enumerate(validated.methods):
            training = np.flatnonzero(validated.folds != fold)
            test = np.flatnonzero(validated.folds == fold)
            for _ in range(_REPEATS):
                some = training[stratified_subset(targets.at(training).strata, share, draw)]
                made = fit(features.means[some], targets.at(some), method)
                head = made.head(targets.classes, spec, targets.kind)
                scores = video_scores(head, features.at(test), validated.temperatures[fold])
                found = hits_of(scores, targets.at(test))
                hits[test] += found[0] / _REPEATS
                counts[test] += found[1] / _REPEATS
                trained.append(len(some))
        sizes.append(round(float(np.mean(trained))))
        parts.append(hits[held_out])
        wholes.append(counts[held_out])
    full = [int((validated.folds != fold).sum()) for fold in range(len(validated.methods))]
    sizes.append(round(float(np.mean(full))))
    last = hits_of(validated.scores, targets.at(held_out))
    parts.append(last[0])
    wholes.append(last[1])
    points = [CurvePoint(*each) for each in zip(sizes, map(ratio, parts, wholes), strict=True)]
    twice = 2 * len(features)
    forecast = _forecast(np.array(sizes), np.array(parts), np.array(wholes), twice, draw)
    return LearningCurve(tuple(points), twice, forecast)


def _forecast(
    sizes: np.ndarray, parts: Floats, wholes: Floats, wanted: int, draw: np.random.Generator
) -> Estimate:
    """The law's accuracy at a number of videos, with a percentile bootstrap over the videos.

    Args:
        sizes: (s,) training videos of each point.
        parts: (s, m) what each held-out video adds to the numerator of the accuracy.
        wholes: (s, m) to its denominator.
        wanted: number of training videos.
        draw: random numbers.
    """
    count = parts.shape[1]
    sums = [(parts.sum(axis=1), wholes.sum(axis=1))]
    for _ in range(_RESAMPLINGS):
        times = np.bincount(draw.integers(count, size=count), minlength=count)
        sums.append((parts @ times, wholes @ times))
    hits, totals = (np.array(each) for each in zip(*sums, strict=True))
    has_all = (totals > 0).all(axis=1)
    errors: Floats = 1 - hits[has_all] / totals[has_all]
    value, *drawn = 1 - power_law(sizes, errors, wanted)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(
        float(value), min(float(value), float(low)), max(float(value), float(high)), count
    )


def power_law(sizes: np.ndarray, errors: Floats, wanted: float) -> Floats:
    """(k,) errors at `wanted` videos by c + a n^-b with a, c >= 0, fitted by least squares.

    J. Hestness et al., Deep learning scaling is predictable, empirically, 2017.

    Args:
        sizes: (s,) numbers of training videos.
        errors: (k, s) of k curves, measured with them.
        wanted: number of training videos.
    """
    forecast, smallest = np.zeros(len(errors)), np.full(len(errors), np.inf)
    for exponent in _EXPONENTS:
        falling = (sizes / sizes[-1]) ** -exponent
        far = (wanted / sizes[-1]) ** -exponent
        for a, c in _coefficients(falling, errors):
            loss = ((a[:, None] * falling + c[:, None] - errors) ** 2).sum(axis=1)
            better = (a >= 0) & (c >= 0) & (loss < smallest)
            smallest = np.where(better, loss, smallest)
            forecast = np.where(better, a * far + c, forecast)
    return forecast


def _coefficients(falling: Floats, errors: Floats) -> list[tuple[Floats, Floats]]:
    """(k,) and (k,): a and c without bounds, and on each of the bounds 0, of which one is best."""
    none = np.zeros(len(errors))
    centered = falling - falling.mean()
    found = [(none, errors.mean(axis=1)), (errors @ falling / (falling @ falling), none)]
    if (spread := float(centered @ centered)) > 0:
        a = errors @ centered / spread
        found.append((a, errors.mean(axis=1) - a * falling.mean()))
    return found
