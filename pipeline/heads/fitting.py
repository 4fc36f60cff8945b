"""Fits linear classifiers to features: logistic regression with L2, and nearest class mean.

Features are standardized by their mean and standard deviation over the training videos. The result
is folded into one weight and bias, which apply to features as they are stored.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import UsageError
from pipeline.heads.samples import Floats, Targets
from sta.heads import FeatureSpec, HeadKind, LinearHead

MethodName = Literal["logistic", "nearest-mean"]

_MAX_ITERATIONS = 2000
# Of the gradient; a smaller one changes no label.
_TOLERANCE = 1e-4
# Below this share of a channel's mean, its deviation is rounding.
_CONSTANT = 1e-9


@dataclass(frozen=True)
class Method:
    """How a head is fitted.

    Attributes:
        name: "logistic", or "nearest-mean".
        l2: strength of the penalty l2 / 2 * |weight|^2 beside the sum of the log losses, in
            standardized space; 0 for "nearest-mean", which has none.
    """

    name: MethodName
    l2: float = 0.0

    def __str__(self) -> str:
        if self.name == "nearest-mean":
            return "nearest class mean"
        return f"logistic regression, L2 strength {self.l2:g}"


@dataclass(frozen=True, eq=False)
class Linear:
    """logits = features @ weight.T + bias.

    Attributes:
        weight: (classes, d).
        bias: (classes,).
    """

    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """(n, classes) of features (n, d)."""
        return np.asarray(features @ self.weight.T + self.bias)

    def head(self, classes: Sequence[str], features: FeatureSpec, kind: HeadKind) -> LinearHead:
        """The head of this classifier, at temperature 1."""
        return LinearHead(
            np.asarray(self.weight, np.float32),
            np.asarray(self.bias, np.float32),
            tuple(classes),
            features,
            kind=kind,
        )


def check_installed() -> None:
    """Refuses to go on without scikit-learn.

    Raises:
        UsageError: it is missing; the message says how to install it.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError(
            "training a head needs the package scikit-learn, which the extra 'heads' brings: "
            "pip install -c constraints.txt -e '.[heads]'"
        )


def fit(means: Floats, targets: Targets, method: Method) -> Linear:
    """The classifier of one method; see `fit_all`."""
    return next(fit_all(means, targets, [method]))


def fit_all(means: Floats, targets: Targets, methods: Sequence[Method]) -> Iterator[Linear]:
    """Yields the classifier of each method.

    Logistic regressions are fastest from the strongest penalty to the weakest, each of which begins
    where the last one ended.

    Args:
        means: (n, d) features of videos.
        targets: their labels; for "softmax" each class has a video.
        methods: to fit.
    """
    center = means.mean(axis=0)
    scale = means.std(axis=0)
    scale[scale <= _CONSTANT * np.maximum(np.abs(center), _CONSTANT)] = 1.0
    standardized = (means - center) / scale
    logistic = _Logistic(standardized, targets)
    for method in methods:
        if method.name == "logistic":
            made = logistic.fit(method.l2)
        else:
            made = _nearest_mean(standardized, targets)
        weight = made.weight / scale
        yield Linear(weight, made.bias - weight @ center)


class _Logistic:
    """Logistic regressions of the same videos with several strengths.

    With fewer videos than channels, the penalized weights lie in the span of the videos, so they
    are fitted in its coordinates.
    """

    def __init__(self, standardized: Floats, targets: Targets) -> None:
        self._basis: Floats | None = None
        self._features = standardized
        if standardized.shape[0] < standardized.shape[1]:
            left, sizes, self._basis = np.linalg.svd(standardized, full_matrices=False)
            self._features = left * sizes
        self._targets = targets
        self._models: dict[int, object] = {}

    def fit(self, l2: float) -> Linear:
        """The classifier in standardized space."""
        if self._targets.kind == "softmax":
            weight, bias = self._solve(0, self._targets.codes, l2)
            if len(bias) == 1:
                weight, bias = (np.concatenate([-each, each]) / 2 for each in (weight, bias))
        else:
            parts = [self._binary(number, l2) for number in range(len(self._targets.classes))]
            weight, bias = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Linear(weight if self._basis is None else weight @ self._basis, bias)

    def _binary(self, number: int, l2: float) -> tuple[Floats, Floats]:
        """One class against the rest; its frequency alone where all videos agree."""
        has = self._targets.matrix[:, number]
        if has.all() or not has.any():
            return np.zeros((1, self._features.shape[1])), _log_odds(has.sum(), len(has))
        return self._solve(number, has.astype(np.int64), l2)

    def _solve(self, number: int, codes: np.ndarray, l2: float) -> tuple[Floats, Floats]:
        # Takes a second to import, which commands that only read a head do not need.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = self._models.setdefault(
            number, LogisticRegression(tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, warm_start=True)
        )
        assert isinstance(model, LogisticRegression)
        model.set_params(C=1 / l2)
        with warnings.catch_warnings():
            # Cross-validation judges weights that have not converged as it does any others.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self._features, codes)
        return model.coef_.copy(), model.intercept_.copy()


def _log_odds(hits: int, count: int) -> Floats:
    """(1,) of a share, with half a hit and half a miss more."""
    return np.array([np.log((hits + 0.5) / (count - hits + 0.5))])


def _nearest_mean(standardized: Floats, targets: Targets) -> Linear:
    """The class whose mean is nearest; of independent labels, whether the mean of the videos with
    it is nearer than that of the others.

    |x - mu|^2 is smallest where 2 x mu - |mu|^2 is largest, which is linear in x. A mean of m
    videos lies farther from everything than the true one, by the variance of a video over m, which
    is taken off: otherwise classes with few videos would hardly ever be the nearest.
    """
    has = targets.matrix.astype(np.float64)
    if targets.kind == "softmax":
        counts = has.sum(axis=0)
        means = has.T @ standardized / counts[:, None]
        residuals = standardized - means[targets.codes]
        scale = _likelihood_scale(means, residuals, len(targets.classes))
        squares = (means**2).sum(axis=1) - _variance(residuals, len(targets.classes)) / counts
        return Linear(2 * scale * means, -scale * squares)
    weights, biases = [], []
    for column in has.T:
        hits = int(column.sum())
        if hits in (0, len(column)):
            weights.append(np.zeros(standardized.shape[1]))
            biases.append(_log_odds(hits, len(column))[0])
            continue
        inside = column @ standardized / hits
        outside = (1 - column) @ standardized / (len(column) - hits)
        residuals = standardized - np.where(column[:, None] > 0, inside, outside)
        scale = _likelihood_scale((inside - outside)[None], residuals, 2)
        variance = _variance(residuals, 2)
        farther = (outside**2).sum() - variance / (len(column) - hits)
        weights.append(2 * scale * (inside - outside))
        biases.append(scale * (farther - (inside**2).sum() + variance / hits))
    return Linear(np.stack(weights), np.array(biases))


def _variance(residuals: Floats, groups: int) -> float:
    """Mean squared distance of a video from the true mean of its group; 0 if it is not known."""
    freedom = len(residuals) - groups
    return float((residuals**2).sum()) / freedom if freedom > 0 else 0.0


def _likelihood_scale(means: Floats, residuals: Floats, groups: int) -> float:
    """What turns differences of squared distances into log likelihood ratios, roughly.

    Along a direction m, two Gaussians whose means lie |m|^2 apart, with variance v, have a ratio of
    |m|^2 / v for each unit of distance; 2 x m counts twice that distance.
    """
    freedom = len(residuals) - groups
    along = float(((residuals @ means.T) ** 2).sum())
    if freedom < 1 or along <= 0:
        return 1.0 / int(means.shape[1])
    return float((means**2).sum()) * freedom / (2 * along)
