"""Trains a head on the features of labeled videos, and measures it by cross-validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.heads.calibration import Calibration, error_by_chance, error_of
from pipeline.heads.choice import STRENGTHS, MethodChoice, candidates, choose
from pipeline.heads.cross_validation import CrossValidation, cross_validate
from pipeline.heads.fitting import Method, check_installed, fit
from pipeline.heads.learning_curve import learning_curve
from pipeline.heads.measures import accuracy_of
from pipeline.heads.report import HeadReport
from pipeline.heads.samples import LabeledFeatures, Targets
from pipeline.run.video_digests import packed
from sta.heads import FeatureSpec, LinearHead

SEED = 20231002


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """A head and what is known of it.

    Attributes:
        head: with the report in `trained`.
        report: as data.
    """

    head: LinearHead
    report: HeadReport


def train_head(
    features: LabeledFeatures,
    targets: Targets,
    spec: FeatureSpec,
    *,
    run_id: str = "",
    checkpoint: str = "",
    method: MethodChoice = "auto",
    left_out: Mapping[str, int] | None = None,
    license: str = "",
    labels_license: str = "",
    seed: int = SEED,
) -> TrainedHead:
    """Trains a head on all labeled videos; its accuracy is that of heads that were trained in the
    same way, choices included, without the videos that they are measured on.

    The same features, labels and seed give the same head.

    Args:
        features: of the videos.
        targets: their labels.
        spec: what made the features.
        run_id: of the run, for the report.
        checkpoint: of the run's model, without secrets.
        method: how to fit, or "auto" for the one that cross-validates better.
        left_out: rows of the list that were not used, by reason.
        license: of the features' model, as stated by its checkpoint.
        labels_license: of the labels.
        seed: of all random numbers.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    check_installed()
    # Limits hold for libraries that are loaded, such as the one that scikit-learn brings.
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    draws = [np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(4)]
    tried = candidates(targets, method)
    # The matrices are too small for threads, and threads add up in another order elsewhere.
    with threadpool_limits(1):
        validated = cross_validate(features, targets, spec, method, draws[0])
        choice = choose(features.means, targets, tried, draws[1])
        made = fit(features.means, targets, choice.method)
        curve = learning_curve(features, targets, spec, validated, draws[2])
    temperature = choice.temperature * validated.temperature
    known = targets.at(validated.held_out)
    report = HeadReport(
        run_id=run_id,
        checkpoint=checkpoint,
        videos=len(features),
        views=len(features.views),
        kind=targets.kind,
        method=str(choice.method),
        methods_tried=len(tried),
        folds_methods=tuple(map(str, validated.methods)),
        accuracy=accuracy_of(validated.scores, known, targets.counts),
        calibration=Calibration(
            before=error_of(validated.raw_scores, known),
            after=error_of(validated.scores, known),
            by_chance=error_by_chance(validated.scores, known, draws[3]),
        ),
        temperature=temperature,
        curve=curve,
        left_out=dict(left_out or {}),
        notes=tuple(_notes(validated, targets, tried, choice.method)),
        license=license,
        labels_license=labels_license,
        seed=seed,
    )
    head = dataclasses.replace(
        made.head(targets.classes, spec, targets.kind),
        temperature=temperature,
        license=license,
        trained=report.to_json(),
        trained_on=packed(features.video_ids),
    )
    return TrainedHead(head, report)


def _notes(
    validated: CrossValidation, targets: Targets, tried: list[Method], chosen: Method
) -> list[str]:
    notes = []
    alone = [
        name for name, count in zip(targets.classes, targets.counts, strict=True) if count == 1
    ]
    if not len(validated.held_out):
        notes.append(
            "no class has two labeled videos, so nothing could be measured: neither accuracy nor "
            "calibration"
        )
    elif alone:
        named = ", ".join(map(repr, alone[:5])) + ", ..." * (len(alone) > 5)
        notes.append(
            f"classes with one labeled video ({len(alone):,}: {named}) are in the head, but their "
            f"accuracy cannot be measured"
        )
    if len(tried) > 1 and chosen.name == "logistic" and chosen.l2 in (STRENGTHS[0], STRENGTHS[-1]):
        notes.append(
            f"the L2 strength {chosen.l2:g} is the {'largest' if chosen.l2 > 1 else 'smallest'} "
            f"that was tried"
        )
    return notes
