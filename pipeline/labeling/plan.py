"""From the options of a labeling job to what it will do: all checks that need no writing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sta
from pipeline.early_exit import EarlyExitFile
from pipeline.errors import UsageError
from pipeline.inputs.ground_truth import GroundTruth
from pipeline.inputs.input_check import checked_input
from pipeline.labeling.options import LabelOptions
from pipeline.run.run_directory import RunDirectory, check_same
from pipeline.storage.location import Location
from sta.checkpoints.remote import without_secrets
from workers.inference.labeler import LabelerConfig
from workers.sampling import Protocol, protocol
from workers.schema import UNIT_SCHEMA_VERSION


@dataclass(frozen=True)
class LabelPlan:
    """What a labeling job will do.

    Attributes:
        run: the run directory, which may not exist yet.
        identity: all that decides what a row says; a run holds rows of one identity.
        model: what run.json says of the model.
        protocol: how videos become views.
        labeler: what the labelers load.
        early_exit_file: the file with the early-exit threshold; None for all views of each.
        variants: prunings that are all tried on every unit, in place of labeling it by one.
        sample: so many videos of the input, those with the smallest unit ids; None for all.
        true_labels: those of the input of a run that does not exist yet.
    """

    run: RunDirectory
    identity: dict[str, Any]
    model: dict[str, Any]
    protocol: Protocol
    labeler: LabelerConfig
    early_exit_file: EarlyExitFile | None = None
    variants: Mapping[str, sta.Pruning] = field(default_factory=dict)
    sample: int | None = None
    true_labels: GroundTruth | None = None

    @property
    def expected_views(self) -> float:
        """Expected views per unit: the mean of the calibration, or all of the protocol."""
        file = self.early_exit_file
        return self.protocol.views if file is None else file.point.views

    def models(self, *, shadow: bool) -> int:
        """How many a labeler holds."""
        return len(self.variants) or (2 if shadow else 1)


def plan_labeling(options: LabelOptions) -> LabelPlan:
    """Loads the model and checks the command against it and against the run that it would resume.

    Raises:
        UsageError, sta.CheckpointError, sta.UnsafePickle, ValueError: the command is wrong.
    """
    model = sta.load_model(
        options.checkpoint, architecture=options.architecture, labels=options.labels
    )
    pruning = _pruning(options, model)
    model.config.stages(pruning)
    if options.shadow_share and not pruning.r and options.early_exit is None:
        raise UsageError(
            "--shadow-share compares with the unpruned model, and with --r 0 nothing is pruned; "
            "leave one of them out"
        )
    views = protocol_for(options, model)
    identity = _identity(options, model, pruning, views)
    file = _early_exit_file(options, identity)
    plan = LabelPlan(
        run=RunDirectory(Location.of(options.output)),
        identity=identity | _early_exit_identity(file) | _budgeted(options, file),
        model=_described(options, model, pruning),
        protocol=views,
        labeler=LabelerConfig(
            checkpoint=options.checkpoint,
            pruning=pruning,
            labels=options.labels,
            batch_size=options.batch_size,
            compile=options.compile,
            fingerprint=model.fingerprint,
        ),
        early_exit_file=file,
    )
    return with_checked_places(plan, options)


def with_checked_places(plan: LabelPlan, options: LabelOptions) -> LabelPlan:
    """The plan with the input's true labels; refuses an output that holds something else, and an
    input that holds nothing or is malformed.

    Raises:
        UsageError: the message says what is there.
    """
    if plan.run.exists():
        check_same(plan.run.load()["identity"], plan.identity, plan.run.root.uri)
        return plan
    plan.run.check_unused()
    return dataclasses.replace(plan, true_labels=true_labels(plan, options))


def true_labels(plan: LabelPlan, options: LabelOptions) -> GroundTruth:
    """The true labels of the input, which is checked.

    Raises:
        UsageError: it holds no video, or is a list that is malformed.
    """
    return checked_input(
        options.source,
        plan.model["labels"],
        all_files=options.all_files,
        limit=options.limit,
    )


def protocol_for(options: LabelOptions, model: sta.VideoModel) -> Protocol:
    """The protocol that the task's published accuracies of this kind of model were measured by."""
    family = "videoswin" if model.architecture.startswith("videoswin") else "videomae"
    return protocol(
        options.protocol or f"{family}-{options.task}",
        size=model.config.image_size,
        frames=model.config.frames,
        views=options.views,
        every_s=options.every_s,
    )


def _pruning(options: LabelOptions, model: sta.VideoModel) -> sta.Pruning:
    r = sta.default_pruning(model.architecture).r if options.r is None else options.r
    return dataclasses.replace(options.pruning, r=r)


def _identity(
    options: LabelOptions, model: sta.VideoModel, pruning: sta.Pruning, views: Protocol
) -> dict[str, Any]:
    shadow = {"shadow": options.shadow_share} if options.shadow_share else {}
    all_files = {"all_files": True} if options.all_files else {}
    return (
        shadow
        | all_files
        | {
            "input": Location.of(options.source).resolved().uri,
            "limit": options.limit,
            "model": model.fingerprint,
            "labels": sta.labels_fingerprint(model.labels),
            "pruning": dataclasses.asdict(pruning) if pruning.r else {"r": 0},
            "protocol": dataclasses.asdict(views),
            "decoder": options.decoder,
            "unit_schema": UNIT_SCHEMA_VERSION,
        }
    )


def _early_exit_file(options: LabelOptions, identity: dict[str, Any]) -> EarlyExitFile | None:
    """The early-exit file, if one is given; it must have been fitted for such a run."""
    if options.early_exit is None:
        return None
    place = Location.of(options.early_exit)
    file = EarlyExitFile.read(place)
    file.check_fits(identity, place.uri)
    return file


def _early_exit_identity(file: EarlyExitFile | None) -> dict[str, Any]:
    """The early exit in a run's identity; nothing without one."""
    if file is None:
        return {}
    early_exit = dataclasses.asdict(file.early_exit)
    return {"early_exit": early_exit | {"agreement": file.agreement, "confidence": file.confidence}}


def _budgeted(options: LabelOptions, file: EarlyExitFile | None) -> dict[str, Any]:
    """The budget in a run's identity, without its size, which may change between attempts."""
    if options.budget is None or file is None:
        return {}
    return {"budget": options.budget.kind, "early_exit_curve": file.digest}


def _described(
    options: LabelOptions, model: sta.VideoModel, pruning: sta.Pruning
) -> dict[str, Any]:
    dense, pruned = (
        sta.estimate_flops(model.config, pruning=p, num_classes=len(model.labels))
        for p in (None, pruning)
    )
    return {
        "architecture": model.architecture,
        "checkpoint": without_secrets(options.checkpoint),
        "notes": list(model.notes),
        "kept_grids": [list(grid) for grid in model.config.kept_grids(pruning)],
        "flops_per_view": pruned,
        "flops_per_view_unpruned": dense,
        "flops_vary_by_clip": sta.flops_vary_by_clip(model.architecture, pruning),
        "labels": list(model.labels),
    }
