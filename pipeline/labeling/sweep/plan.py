"""From the options of a sweep run to what it will do: all checks that need no writing."""

from __future__ import annotations

import dataclasses
from typing import Any

import sta
from pipeline.errors import UsageError
from pipeline.labeling.plan import LabelPlan, protocol_for, pruning_identity, with_checked_places
from pipeline.labeling.sweep.options import SweepOptions
from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import Model
from pipeline.storage.location import Location
from sta.checkpoints.remote import without_secrets
from workers.decoding.types import DECODE_MODES
from workers.inference.labeler import LabelerConfig
from workers.inference.reduction import SweepVariant, TokenReduction, variant_flops
from workers.sampling import Protocol
from workers.sweep_schema import SWEEP_SCHEMA_VERSION


def plan_sweep(options: SweepOptions) -> LabelPlan:
    """Loads the model and checks the variants against it, and all against the run that it would
    resume.

    Raises:
        UsageError, sta.CheckpointError, sta.UnsafePickle, ValueError: something is wrong.
    """
    asked = options.labeling
    model = sta.load_model(
        asked.checkpoint,
        architecture=asked.architecture,
        labels=asked.labels,
        label_map=asked.label_map,
        sha256=asked.checkpoint_sha256,
    )
    variants = dict(sorted(options.variants.items()))
    for name, variant in variants.items():
        try:
            variant_flops(variant, model.config, num_classes=model.head.out_features)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
    views = protocol_for(asked, model)
    plan = LabelPlan(
        run=RunDirectory(Location.of(asked.output)),
        identity=_identity(options, model, variants, views),
        model=_described(options, model, variants),
        protocol=views,
        labeler=LabelerConfig(
            checkpoint=asked.checkpoint,
            labels=asked.labels,
            label_map=model.label_map,
            batch_size=asked.batch_size,
            compile=asked.compile,
            fingerprint=model.fingerprint,
            shape=model.config,
        ),
        variants=variants,
        sample=options.sample,
    )
    return with_checked_places(plan, asked)


def _identity(
    options: SweepOptions,
    model: sta.VideoModel,
    variants: dict[str, SweepVariant],
    views: Protocol,
) -> Identity:
    return Identity(
        input=Location.of(options.labeling.source).resolved().uri,
        limit=options.labeling.limit,
        sample=options.sample,
        all_files=options.labeling.all_files,
        follow_links=options.labeling.follow_links,
        lists=options.labeling.lists.resolved(),
        model=model.fingerprint,
        shape=dataclasses.asdict(sta.architecture_config(model.config)),
        labels=sta.labels_fingerprint(model.labels, model.label_map),
        variants={name: _variant_identity(variant) for name, variant in variants.items()},
        protocol=views,
        decoder=options.labeling.decoder,
        decode=options.labeling.decode or DECODE_MODES[0],
        precision=options.labeling.chosen_precision,
        sweep_schema=SWEEP_SCHEMA_VERSION,
    )


def _described(
    options: SweepOptions, model: sta.VideoModel, variants: dict[str, SweepVariant]
) -> Model:
    flops = {
        name: variant_flops(variant, model.config, num_classes=model.head.out_features)
        for name, variant in variants.items()
    }
    return Model(
        architecture=model.architecture,
        checkpoint=without_secrets(options.labeling.checkpoint),
        labels=tuple(model.labels),
        label_map=model.label_map,
        notes=tuple(model.notes),
        flops=flops,
    )


def _variant_identity(variant: SweepVariant) -> dict[str, Any]:
    if isinstance(variant, TokenReduction):
        return {"method": type(variant).__name__} | dataclasses.asdict(variant)
    return pruning_identity(variant)
