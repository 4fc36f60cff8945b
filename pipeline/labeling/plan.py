"""From the options of a labeling job to what it will do: all checks that need no writing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sta
from pipeline.early_exit import EarlyExitFile
from pipeline.embeddings.features import feature_spec, read_head
from pipeline.errors import UsageError
from pipeline.inputs.input_check import CheckedInput, checked_input
from pipeline.labeling.options import LabelOptions
from pipeline.run.earlier_runs import EarlierRuns
from pipeline.run.identity import EarlyExitTerms, Identity
from pipeline.run.run_directory import RunDirectory, check_same
from pipeline.run.run_record import Model, RunRecord
from pipeline.storage.location import Location
from sta.checkpoints.remote import without_secrets
from sta.heads import LinearHead, backbone_fingerprint
from workers.decoding.types import DECODE_MODES
from workers.inference.labeler import LabelerConfig
from workers.inference.reduction import SweepVariant
from workers.precisions import Precision
from workers.sampling import Protocol, default_protocol, protocol
from workers.schema import UNIT_SCHEMA_VERSION


@dataclass(frozen=True)
class LabelPlan:
    """What a labeling job will do.

    Attributes:
        run: the run directory, which may not exist yet.
        identity: all that decides what a row says.
        model: the model, for run.json.
        protocol: how videos become views.
        labeler: what the labelers load.
        early_exit_file: the file with the early-exit threshold; None for all views of each.
        variants: of a sweep, the prunings that are all applied to every unit.
        sample: so many videos of the input, those with the smallest unit ids; None for all.
        checked: the input of a run that does not exist yet.
        earlier: runs whose labeled videos a run that does not exist yet leaves out.
    """

    run: RunDirectory
    identity: Identity
    model: Model
    protocol: Protocol
    labeler: LabelerConfig
    early_exit_file: EarlyExitFile | None = None
    variants: Mapping[str, SweepVariant] = field(default_factory=dict)
    sample: int | None = None
    checked: CheckedInput | None = None
    earlier: EarlierRuns = field(default_factory=EarlierRuns)

    @property
    def expected_views(self) -> float:
        """Views of a unit that are evaluated, on average, as far as is known before the run."""
        file = self.early_exit_file
        return self.protocol.views if file is None else file.point.views

    def with_precision(self, precision: Precision | None) -> LabelPlan:
        """The plan with this precision, unless it has one."""
        return dataclasses.replace(self, identity=_with_precision(self.identity, precision))

    def models(self, *, shadow: bool) -> int:
        """How many a labeler holds."""
        return len(self.variants) or (2 if shadow else 1)


def plan_labeling(options: LabelOptions) -> LabelPlan:
    """Loads the model and checks the command against it and against the run that it would resume.

    Raises:
        UsageError, sta.CheckpointError, sta.UnsafePickle, ValueError: the command is wrong.
    """
    model = sta.load_model(
        options.checkpoint,
        architecture=options.architecture,
        labels=options.labels,
        label_map=options.label_map,
        sha256=options.checkpoint_sha256,
    )
    pruning = options.pruning.of(model.config)
    model.config.stages(pruning)
    if options.shadow_share and not pruning.r and options.early_exit is None:
        raise UsageError(
            "--shadow-share compares with the unpruned model, and with --r 0 nothing is pruned; "
            "leave one of them out"
        )
    views = protocol_for(options, model)
    described = _described(options, model, pruning)
    identity = _identity(options, model, pruning, views)
    head = None
    if options.features.head is not None:
        head = read_head(Location.of(options.features.head))
        identity, described = _with_head(identity, described, head, options.checkpoint)
    file = _early_exit_file(options)
    if file is None and options.decode not in (None, DECODE_MODES[0]):
        raise UsageError(
            f"--decode {options.decode} changes labels, and no early-exit file says how many: add "
            f"--early-exit FILE, a file of jobs/calibrate.py --decode {options.decode} (with "
            f"--all-views where all views are to be evaluated); without one, decoding is "
            f"{DECODE_MODES[0]}"
        )
    if file is not None:
        identity = _with_file(identity, file, options)
        if not file.saves_views and options.budget is None:
            file = None  # it promises its decode mode alone
    plan = LabelPlan(
        run=RunDirectory(Location.of(options.output)),
        identity=identity,
        model=described,
        protocol=views,
        labeler=LabelerConfig(
            checkpoint=options.checkpoint,
            pruning=pruning,
            labels=options.labels,
            label_map=model.label_map,
            batch_size=options.batch_size,
            compile=options.compile,
            fingerprint=model.fingerprint,
            shape=model.config,
            head=head,
            embeddings=options.features.stored is not None,
        ),
        early_exit_file=file,
    )
    return with_checked_places(plan, options)


def with_checked_places(plan: LabelPlan, options: LabelOptions) -> LabelPlan:
    """The plan with its checked input; refuses an output that holds something else, and an
    input that holds nothing or is malformed.

    Raises:
        UsageError: the message says what is there.
    """
    if plan.run.exists():
        recorded = plan.run.load().identity
        plan = plan.with_precision(recorded.precision)
        check_same(recorded, plan.identity, plan.run.root.uri)
        return plan
    plan.run.check_unused()
    earlier = EarlierRuns.of(options.since, plan.identity, plan.run.root)
    return dataclasses.replace(plan, checked=check_input(plan, options), earlier=earlier)


def check_input(plan: LabelPlan, options: LabelOptions) -> CheckedInput:
    """The input, checked, and its ground truth.

    Raises:
        UsageError: it holds no video, or is a list that is malformed.
    """
    limit = None if options.since else options.limit  # the first new ones may stand further down
    return checked_input(options.listing(), plan.model.labels, limit=limit)


def protocol_for(options: LabelOptions, model: sta.VideoModel) -> Protocol:
    """The protocol that is asked for, or the default of the model and the task."""
    return protocol(
        options.protocol or default_protocol(model.architecture, options.task),
        size=model.config.image_size,
        frames=model.config.frames,
        views=options.views,
        every_s=options.every_s,
    )


def _identity(
    options: LabelOptions, model: sta.VideoModel, pruning: sta.Pruning, views: Protocol
) -> Identity:
    return Identity(
        input=Location.of(options.source).resolved().uri,
        limit=options.limit,
        all_files=options.all_files,
        follow_links=options.follow_links,
        since=tuple(Location.of(each).resolved().uri for each in options.since),
        lists=options.lists.resolved(),
        model=model.fingerprint,
        shape=dataclasses.asdict(sta.architecture_config(model.config)),
        labels=sta.labels_fingerprint(model.labels, model.label_map),
        pruning=pruning_identity(pruning),
        protocol=views,
        decoder=options.decoder,
        precision=options.chosen_precision,
        shadow_share=options.shadow_share,
        embeddings=options.features.stored,
        unit_schema=UNIT_SCHEMA_VERSION,
    )


def _with_precision(identity: Identity, precision: Precision | None) -> Identity:
    return identity if identity.precision else dataclasses.replace(identity, precision=precision)


def pruning_identity(pruning: sta.Pruning) -> dict[str, Any]:
    """A pruning as an identity has it: of one that prunes nothing, r alone."""
    return dataclasses.asdict(pruning) if pruning.r else {"r": 0}


def _early_exit_file(options: LabelOptions) -> EarlyExitFile | None:
    """The early-exit file that is asked for."""
    if options.early_exit is None:
        return None
    return EarlyExitFile.read(Location.of(options.early_exit))


def _with_file(identity: Identity, file: EarlyExitFile, options: LabelOptions) -> Identity:
    """The identity with the decode mode and the terms of the early-exit file, and with what its
    budget is in.

    Raises:
        UsageError: the file was not fitted for such a run.
    """
    assert options.early_exit is not None
    identity = dataclasses.replace(identity, decode=options.decode or file.decode)
    identity = _with_precision(identity, file.precision)
    file.check_fits(identity, Location.of(options.early_exit).uri)
    if not file.saves_views and options.budget is None:
        return identity
    settings = file.early_exit
    terms = EarlyExitTerms(settings.threshold, settings.max_views, file.agreement, file.confidence)
    if options.budget is None:
        return dataclasses.replace(identity, early_exit=terms)
    return dataclasses.replace(
        identity, early_exit=terms, budget=options.budget.kind, early_exit_curve=file.digest
    )


def _described(options: LabelOptions, model: sta.VideoModel, pruning: sta.Pruning) -> Model:
    unpruned, pruned = (
        sta.estimate_flops(model.config, pruning=p, num_classes=model.head.out_features)
        for p in (None, pruning)
    )
    return Model(
        architecture=model.architecture,
        checkpoint=without_secrets(options.checkpoint),
        labels=tuple(model.labels),
        label_map=model.label_map,
        notes=tuple(model.notes),
        kept_grids=model.config.token_grids(pruning),
        flops_per_view=pruned,
        flops_per_view_unpruned=unpruned,
        flops_vary_by_clip=sta.flops_vary_by_clip(model.architecture, pruning),
        license=model.license,
        backbone=backbone_fingerprint(model) if options.features.needed else "",
        channels=model.head.in_features if options.features.needed else 0,
    )


def _with_head(
    identity: Identity, model: Model, head: LinearHead, shown: str
) -> tuple[Identity, Model]:
    """The identity and the model with a head in place of the model's own.

    Raises:
        UsageError: the head does not fit the model's features.
    """
    features = feature_spec(RunRecord(identity=identity, model=model))
    try:
        head.features.check_fits(features, without_secrets(shown))
    except sta.CheckpointError as error:
        raise UsageError(str(error)) from error
    more = tuple(head.features.differences(features))
    said = dataclasses.replace(
        model,
        labels=head.labels,
        label_map=None,
        notes=model.notes + more,
        flops_per_view=model.flops_per_view + head.flops,
        flops_per_view_unpruned=model.flops_per_view_unpruned + head.flops,
        trained_on=head.trained_on,
    )
    labels = sta.labels_fingerprint(head.labels)
    return dataclasses.replace(identity, labels=labels, head=head.fingerprint), said
