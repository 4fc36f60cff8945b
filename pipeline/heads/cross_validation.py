"""Predictions for labeled videos by heads that were chosen and trained without them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pipeline.heads.calibration import fit_temperature
from pipeline.heads.choice import MethodChoice, candidates, choose, folds_of
from pipeline.heads.fitting import Method, fit
from pipeline.heads.folds import ALWAYS_TRAINING
from pipeline.heads.samples import Floats, Ints, LabeledFeatures, Targets
from sta.heads import FeatureSpec, LinearHead


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Scores of m of n labeled videos by heads that never saw them.

    Attributes:
        held_out: (m,) the videos, by index; without those that are alone in their class.
        folds: (n,) fold of each video; see `stratified_folds`.
        methods: of each fold, chosen by its training videos alone.
        temperatures: of each fold, fitted to its own training videos, and then to the predictions
            for the other folds.
        temperature: fitted to all predictions, beside that of the choice of the method; 1 where
            there are none.
        scores: (m, c) probabilities at the temperature of the fold, averaged over views.
        raw_scores: (m, c) the same at temperature 1.
    """

    held_out: Ints
    folds: Ints
    methods: tuple[Method, ...]
    temperatures: tuple[float, ...]
    temperature: float
    scores: Floats
    raw_scores: Floats


def cross_validate(
    features: LabeledFeatures,
    targets: Targets,
    spec: FeatureSpec,
    method: MethodChoice,
    draw: np.random.Generator,
) -> CrossValidation:
    """Nested cross-validation: of each fold, method and strength are chosen by a cross-validation
    of the other folds, and so is the temperature.

    Held-out videos are scored as videos are labeled: by `LinearHead.probabilities` of each view,
    averaged.
    """
    folds = folds_of(targets, draw)
    count = int(folds.max()) + 1
    held_out = np.flatnonzero(folds != ALWAYS_TRAINING)
    heads, choices = [], []
    logits = np.zeros((len(features.views), len(targets.classes)))
    for fold in range(count):
        train = np.flatnonzero(folds != fold)
        known = targets.at(train)
        means = features.means[train]
        chosen = choose(means, known, candidates(known, method), draw)
        made = fit(means, known, chosen.method)
        of_fold = np.flatnonzero(folds == fold)
        of_views = made.logits(_views(features.at(of_fold)))
        logits[_rows(features, of_fold)] = of_views / chosen.temperature
        heads.append(made.head(targets.classes, spec, targets.kind))
        choices.append(chosen)
    temperatures = [
        chosen.temperature
        * _temperature(logits, features, targets, held_out[folds[held_out] != fold])
        for fold, chosen in enumerate(choices)
    ]
    raw, scores = (np.zeros((len(features), len(targets.classes))) for _ in range(2))
    for fold, head in enumerate(heads):
        of_fold = np.flatnonzero(folds == fold)
        of_videos = features.at(of_fold)
        raw[of_fold] = video_scores(head, of_videos, 1.0)
        scores[of_fold] = video_scores(head, of_videos, temperatures[fold])
    return CrossValidation(
        held_out=held_out,
        folds=folds,
        methods=tuple(each.method for each in choices),
        temperatures=tuple(temperatures),
        temperature=_temperature(logits, features, targets, held_out),
        scores=scores[held_out],
        raw_scores=raw[held_out],
    )


def video_scores(head: LinearHead, features: LabeledFeatures, temperature: float) -> Floats:
    """(n, c) probabilities of a head at a temperature, averaged over the views of each video."""
    head = dataclasses.replace(head, temperature=temperature)
    return features.averaged(head.probabilities(features.views))


def _temperature(
    logits: Floats, features: LabeledFeatures, targets: Targets, videos: Ints
) -> float:
    if not len(videos):
        return 1.0
    of_videos = features.at(videos)
    return fit_temperature(logits[_rows(features, videos)], of_videos, targets.at(videos))


def _rows(features: LabeledFeatures, videos: Ints) -> Ints:
    """Indices of the views of some of the videos."""
    spans = [np.arange(features.starts[each], features.starts[each + 1]) for each in videos]
    return np.concatenate(spans)


def _views(features: LabeledFeatures) -> Floats:
    return features.views.astype(np.float64)
