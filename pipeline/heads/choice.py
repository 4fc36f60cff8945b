"""Chooses how a head is fitted: the strength of L2, or nearest class mean, by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.heads.calibration import fit_temperature, log_loss
from pipeline.heads.fitting import Method, fit_all
from pipeline.heads.folds import ALWAYS_TRAINING, stratified_folds
from pipeline.heads.samples import Floats, Ints, LabeledFeatures, Targets

MethodChoice = Literal["auto", "logistic", "nearest-mean"]

FOLDS = 5
# From the strongest to the weakest, as `fit_all` is fastest.
STRENGTHS = (1e4, 1e3, 1e2, 1e1, 1e0, 1e-1)
# With fewer videos of the median class, nearest class mean alone is tried.
FEW = 5

_NEAREST = Method("nearest-mean")


def candidates(targets: Targets, method: MethodChoice) -> list[Method]:
    """The methods to choose from for these labels."""
    logistic = [Method("logistic", each) for each in STRENGTHS]
    if method == "logistic":
        return logistic
    if method == "nearest-mean" or np.median(targets.counts) < FEW:
        return [_NEAREST]
    return [_NEAREST, *logistic]


def folds_of(targets: Targets, draw: np.random.Generator) -> Ints:
    """(n,) fold of each video, of FOLDS, or of fewer where there are few videos."""
    strata = targets.strata
    repeated = int((np.bincount(strata)[strata] > 1).sum())
    return stratified_folds(strata, max(2, min(FOLDS, repeated)), draw)


@dataclass(frozen=True)
class Choice:
    """A method that was chosen by cross-validation.

    Attributes:
        method: how to fit.
        temperature: with the smallest log loss of held-out videos. Logits divided by it are alike
            whatever the method, so that predictions of heads that chose differently can be put
            together.
    """

    method: Method
    temperature: float = 1.0


def choose(
    means: Floats, targets: Targets, methods: Sequence[Method], draw: np.random.Generator
) -> Choice:
    """The method with the smallest log loss of held-out videos, each at its best temperature.

    The loss tells methods apart that get the same videos right. It is that of the videos' mean
    features: averaging the views' probabilities instead takes as many times longer as there are
    views.

    Args:
        means: (n, d) features of videos.
        targets: their labels.
        methods: to choose from.
        draw: random numbers for the folds.
    """
    folds = folds_of(targets, draw)
    held_out = np.flatnonzero(folds != ALWAYS_TRAINING)
    if not len(held_out):
        return Choice(methods[len(methods) // 2])
    logits = np.zeros((len(methods), len(means), len(targets.classes)))
    for fold in range(folds.max() + 1):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        for number, made in enumerate(fit_all(means[train], targets.at(train), methods)):
            logits[number, test] = made.logits(means[test])
    single, known = _as_views(len(held_out)), targets.at(held_out)
    best, smallest = Choice(methods[0]), np.inf
    for method, each in zip(methods, logits[:, held_out], strict=True):
        temperature = fit_temperature(each, single, known)
        loss = log_loss(each / temperature, single, known)
        if loss < smallest:
            best, smallest = Choice(method, temperature), loss
    return best


def _as_views(count: int) -> LabeledFeatures:
    """So many videos of one view each, for losses of their mean features."""
    return LabeledFeatures(
        tuple(map(str, range(count))), np.zeros((count, 0), np.float16), np.arange(count + 1)
    )
