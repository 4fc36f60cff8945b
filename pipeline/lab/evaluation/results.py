"""All that an evaluation found, in figures: what the page, the screen and the JSON say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import statistics as agreement
from pipeline.errors import RunError
from pipeline.execution.attempts import ATTEMPTS
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
from pipeline.statistics import Estimate

EVALUATION_VERSION = 1


@dataclass(frozen=True)
class VariantResult:
    """One variant's figures over all videos.

    Attributes:
        variant: whose they are.
        top1: accuracy by the mean over all views, a share.
        top5: the same among the first five classes.
        per_view: accuracy of single views.
        difference: of top1 to the default's, over the same videos; None of the default itself.
        view_difference: of per_view likewise.
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
    """What an evaluation found.

    Attributes:
        run: its sweep.
        content: their run.json.
        figures: of every variant, in their order.
        tables: the paper's comparisons beside ours.
        scores: correctness of every variant on every video.
    """

    run: RunDirectory
    content: dict[str, Any]
    results: tuple[VariantResult, ...]
    tables: tuple[PaperComparison, ...]
    scores: Scores

    def of(self, name: str) -> VariantResult | None:
        """The figures of a variant, None if it was not tried."""
        return next((each for each in self.results if each.variant.name == name), None)

    def about(self, name: str) -> str:
        """What a variant that was tried is."""
        return next(v.variant.about for v in self.results if v.variant.name == name)

    @property
    def default(self) -> VariantResult:
        """The figures of STA as it is by default."""
        found = self.of(DEFAULT)
        assert found is not None
        return found

    @property
    def random_loses(self) -> Estimate | None:
        """What dropping as many tokens at random costs against STA; None if it was not tried."""
        found = self.of(RANDOM)
        return found.difference if found is not None else None

    @property
    def flops_share(self) -> float | None:
        """FLOPs of the default as a share of the unpruned model's."""
        dense = self.of(UNPRUNED)
        return self.default.flops / dense.flops if dense is not None else None

    @property
    def on_gpu(self) -> bool:
        """Whether device time is that of a GPU; else it is wall time of CPU cores."""
        return any(ran_on_gpu(attempt) for attempt in self.content[ATTEMPTS])

    @property
    def device(self) -> str:
        """What the times were measured on."""
        return device_words(self.content) or "a device that is not known"


def evaluate(run: RunDirectory, variants: Sequence[PruningVariant]) -> EvaluationResults:
    """Reads finished sweep and works everything out.

    Raises:
        UsageError: they are no finished sweep.
        RunError: no video of them can be judged.
    """
    chunks, content = read_sweep(run), run.load()
    found = score_variants(chunks, variants, content["model"]["labels"])
    if not found.videos:
        raise RunError(
            f"nothing to judge in {run.root.uri}: {found.failed:,} videos could not be read, "
            f"{found.unlabeled:,} have no label, {found.unknown.total():,} one that is none of "
            f"the model's",
            advice="Mend the input and choose a new OUTPUT.",
        )
    base = found.by_variant[DEFAULT]
    figures = tuple(_figures(variant, found.by_variant[variant.name], base) for variant in variants)
    return EvaluationResults(run, content, figures, tuple(tables(found, variants)), found)


def _figures(variant: PruningVariant, outcome: VariantScores, base: VariantScores) -> VariantResult:
    return VariantResult(
        variant=variant,
        top1=accuracy(outcome.top1, seeds=outcome.seeds),
        top5=accuracy(outcome.top5, seeds=outcome.seeds),
        per_view=agreement.mean(outcome.per_view),
        difference=None if outcome is base else difference(outcome.top1, base.top1),
        view_difference=None if outcome is base else difference(outcome.per_view, base.per_view),
        ms=agreement.mean(outcome.ms),
        flops=float(outcome.flops.mean()),
    )


def as_json(found: EvaluationResults) -> dict[str, Any]:
    """All of it, for evaluation.json; shares are 0 to 1, the paper's figures percent."""
    scores = found.scores
    return {
        "version": EVALUATION_VERSION,
        "sweep": found.run.root.uri,
        "identity": {k: v for k, v in found.content["identity"].items() if k != "variants"},
        "model": {k: v for k, v in found.content["model"].items() if k != "flops"},
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
