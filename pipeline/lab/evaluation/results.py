"""Results of an evaluation: the figures of every variant, for the page, the terminal and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import statistics
from pipeline.errors import RunError
from pipeline.lab.baselines.shares import is_share_name
from pipeline.lab.evaluation.paper_agreement import PaperComparison, tables
from pipeline.lab.evaluation.scores import (
    Scores,
    VariantScores,
    accuracy,
    difference,
    score_variants,
)
from pipeline.lab.evaluation.variants import DEFAULT, RANDOM, UNPRUNED, PruningVariant
from pipeline.labeling.sweep import read_sweep
from pipeline.run.devices import device_words, ran_on_gpu
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.statistics import Estimate

EVALUATION_VERSION = 2


@dataclass(frozen=True)
class VariantResult:
    """Figures of one variant over all videos.

    Attributes:
        variant: the pruning.
        top1: top-1 accuracy of the mean over all views, a share.
        top5: top-5 accuracy of the same.
        per_view: top-1 accuracy of single views.
        difference: of top1 to that of the variant's base, over the same videos; None for a base.
        view_difference: the same of per_view.
        ms: device time per view, milliseconds.
        flops: multiply-accumulates per view.
    """

    variant: PruningVariant
    top1: Estimate
    top5: Estimate
    per_view: Estimate
    difference: Estimate | None
    view_difference: Estimate | None
    ms: Estimate
    flops: float


@dataclass(frozen=True)
class EvaluationResults:
    """Results of an evaluation.

    Attributes:
        run: its sweep.
        record: of the sweep.
        results: of every variant, in order.
        tables: the paper's comparisons with our differences.
        scores: of every variant on every video.
    """

    run: RunDirectory
    record: RunRecord
    results: tuple[VariantResult, ...]
    tables: tuple[PaperComparison, ...]
    scores: Scores

    def of(self, name: str) -> VariantResult | None:
        """The result of a variant; None if it was not evaluated."""
        return next((each for each in self.results if each.variant.name == name), None)

    def about(self, name: str) -> str:
        """The description of an evaluated variant."""
        return next(v.variant.about for v in self.results if v.variant.name == name)

    @property
    def default(self) -> VariantResult:
        """The result of STA with its default settings."""
        found = self.of(DEFAULT)
        assert found is not None
        return found

    @property
    def random_difference(self) -> Estimate | None:
        """Accuracy of random pruning less that of STA at the same r; None if not evaluated."""
        found = self.of(RANDOM)
        return found.difference if found is not None else None

    @property
    def flops_share(self) -> float | None:
        """FLOPs of the default as a share of the unpruned model's."""
        dense = self.of(UNPRUNED)
        return self.default.flops / dense.flops if dense is not None else None

    @property
    def shares(self) -> list[list[VariantResult]]:
        """The methods that were compared at a share of the FLOPs, share by share, STA first."""
        by_base: dict[str, list[VariantResult]] = {}
        for each in self.results:
            if is_share_name(each.variant.base):
                by_base.setdefault(each.variant.base, []).append(each)
        return list(by_base.values())

    @property
    def distinct(self) -> list[VariantResult]:
        """The results, each setting once."""
        return [each for each in self.results if each.variant.same_as is None]

    @property
    def on_gpu(self) -> bool:
        """Whether device time was measured on a GPU, and not as wall time on CPU cores."""
        return any(ran_on_gpu(attempt) for attempt in self.record.attempts)

    @property
    def device(self) -> str:
        """Device of the time measurements, in words."""
        return device_words(self.record) or "an unknown device"


def evaluate(run: RunDirectory, variants: Sequence[PruningVariant]) -> EvaluationResults:
    """Computes the results of a finished sweep.

    Raises:
        UsageError: the run is no finished sweep.
        RunError: no video has a ground truth that the model knows.
    """
    chunks, record = read_sweep(run), run.load()
    found = score_variants(chunks, variants, record.model.labels)
    if not found.videos:
        raise RunError(
            f"no video of {run.root.uri} has a usable ground truth: {found.failed:,} could not be "
            f"read, {found.unlabeled:,} have no label, and {found.unknown.total():,} have a label "
            f"that is no class of the model",
            advice="Correct the labels of the input and choose a new OUTPUT.",
        )
    results = tuple(_result(variant, found.by_variant) for variant in variants)
    return EvaluationResults(run, record, results, tuple(tables(found, variants)), found)


def _result(variant: PruningVariant, by_variant: Mapping[str, VariantScores]) -> VariantResult:
    scores, base = by_variant[variant.name], by_variant[variant.base]
    return VariantResult(
        variant=variant,
        top1=accuracy(scores.top1, seeds=scores.seeds),
        top5=accuracy(scores.top5, seeds=scores.seeds),
        per_view=statistics.mean(scores.per_view),
        difference=None if scores is base else difference(scores.top1, base.top1),
        view_difference=None if scores is base else difference(scores.per_view, base.per_view),
        ms=statistics.mean(scores.ms),
        flops=float(scores.flops.mean()),
    )


def as_json(found: EvaluationResults) -> dict[str, Any]:
    """Content of evaluation.json; shares are 0 to 1, the paper's figures are percent."""
    scores = found.scores
    return {
        "version": EVALUATION_VERSION,
        "sweep": found.run.root.uri,
        "identity": {k: v for k, v in found.record.identity.to_json().items() if k != "variants"},
        "model": {k: v for k, v in found.record.to_json()["model"].items() if k != "flops"},
        "device": found.device,
        "videos": scores.videos,
        "failed": scores.failed,
        "unlabeled": scores.unlabeled,
        "unknown_labels": dict(scores.unknown),
        "flops_share": found.flops_share,
        "variants": [_variant_json(each) for each in found.results],
        "tables": [
            dataclasses.asdict(table)
            | {"verdict": table.verdict, "view_verdict": table.view_verdict}
            for table in found.tables
        ],
    }


def _variant_json(each: VariantResult) -> dict[str, Any]:
    return {
        "name": each.variant.name,
        "about": each.variant.about,
        "base": each.variant.base,
        "prunings": {name: dataclasses.asdict(p) for name, p in each.variant.sweep().items()},
        "flops_per_view": each.flops,
        **{
            name: None if value is None else dataclasses.asdict(value)
            for name, value in (
                ("top1", each.top1),
                ("top5", each.top5),
                ("per_view", each.per_view),
                ("difference", each.difference),
                ("view_difference", each.view_difference),
                ("ms_per_view", each.ms),
            )
        },
    }
