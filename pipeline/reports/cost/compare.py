"""Compares runs: reads them and computes all figures of a cost report."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError
from pipeline.inputs.manifest import count_rows
from pipeline.prices import Prices, WorkCost
from pipeline.reports.cost.labels import (
    Agreement,
    accuracy,
    agreement,
    paired_difference,
    unpruned_agreement,
)
from pipeline.reports.cost.reserved import ClusterUse, Held, cluster_use, held, per_video
from pipeline.reports.cost.runs import ComparedRun, differences, open_runs, reference_of
from pipeline.reports.cost.shared import RunRows, Shared, find_shared, read_rows
from pipeline.reports.cost.units import Dealt, deal, joined, parts_for
from pipeline.statistics import Estimate

# A labeler on a CPU computes for nearly all of its device time, unless others want its cores.
_COMPUTING = 0.8

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunFigures:
    """Figures of one run.

    Attributes:
        run: which.
        rows: sums over its rows.
        held: what it reserved.
        work_cost: of labeling the shared videos; None without prices.
        shadow_cost: money for their shadow sample, beside `work_cost`; None without prices.
        cluster: what it held against what its work took.
        per_video: (videos,) cost of each shared video, see `reserved.per_video`.
        agreement: with the reference; None for the reference, and where no unit is in both.
        accuracy: on the shared videos with a ground truth; None where none is given.
        difference: accuracy less that of the reference; None for the reference.
        shadow: agreement with the unpruned model on its shadow sample; None without one.
    """

    run: ComparedRun
    rows: RunRows
    held: Held
    work_cost: WorkCost[float] | None
    shadow_cost: float | None
    cluster: ClusterUse
    per_video: Floats
    agreement: Agreement | None = None
    accuracy: Estimate | None = None
    difference: Estimate | None = None
    shadow: Agreement | None = None


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        runs: their figures, in the order named.
        reference: what the others are compared with.
        shared: the videos compared.
        prices: the same for all runs; None if there are none.
        prices_from: where they come from, in words.
        notes: one sentence each.
    """

    runs: tuple[RunFigures, ...]
    reference: RunFigures
    shared: Shared
    prices: Prices | None
    prices_from: str
    notes: tuple[str, ...]


def compare(names: Sequence[str], *, prices_file: Path | None = None) -> RunComparison:
    """Compares finished runs on the videos that all of them labeled.

    Raises:
        UsageError: the runs cannot be compared; the message says why.
        OSError, pa.ArrowException: their tables cannot be read.
    """
    runs = open_runs(names)
    prices, prices_from, notes = _prices(runs, prices_file)
    shared = find_shared(runs)
    if not len(shared.ids):
        raise UsageError(
            f"no video was labeled by all of {', '.join(run.uri for run in runs)}; runs over the "
            f"same input are compared by the video_id of its videos"
        )
    reference = reference_of(runs)
    rows = {run.name: read_rows(run, shared) for run in runs}
    agreements = _agreements(runs, reference, shared)
    judged = np.logical_and.reduce([each.correct >= 0 for each in rows.values()])
    if not all(run.has_classes_of(reference) for run in runs):
        judged[:] = False
    figures = []
    for run in runs:
        correct, difference = rows[run.name].correct, None
        if judged.any() and run is not reference:
            difference = paired_difference(rows[reference.name].correct, correct, judged)
        figures.append(
            dataclasses.replace(
                _costs(run, rows[run.name], prices),
                agreement=agreements.get(run.name),
                accuracy=accuracy(correct, judged) if judged.any() else None,
                difference=difference,
                shadow=unpruned_agreement(run),
            )
        )
    return RunComparison(
        runs=tuple(figures),
        reference=figures[runs.index(reference)],
        shared=shared,
        prices=prices,
        prices_from=prices_from,
        notes=(*notes, *differences(runs), *_remarks(figures, reference)),
    )


def _costs(run: ComparedRun, rows: RunRows, prices: Prices | None) -> RunFigures:
    """Figures of a run without those of its labels."""
    reserved = held(rows.attempts)
    return RunFigures(
        run=run,
        rows=rows,
        held=reserved,
        work_cost=None if prices is None else prices.work(rows.used),
        shadow_cost=None if prices is None else prices.device(rows.shadow),
        cluster=cluster_use(rows, reserved, prices),
        per_video=per_video(rows, prices),
    )


def _prices(runs: Sequence[ComparedRun], file: Path | None) -> tuple[Prices | None, str, list[str]]:
    """One price list for all runs, its source, and notes on it."""
    if file is not None:
        return Prices.read(file), f"--prices {file}", []
    priced = [run for run in runs if run.prices is not None]
    if not priced:
        return None, "", []
    first = priced[0]
    notes = []
    if len(priced) < len(runs) or any(run.prices != first.prices for run in priced[1:]):
        notes.append(
            f"The runs recorded different prices; those of {first.name} are used for all "
            f"(--prices FILE sets others)."
        )
    return first.prices, f"run.json of {first.name}", notes


def _agreements(
    runs: Sequence[ComparedRun], reference: ComparedRun, shared: Shared
) -> dict[str, Agreement]:
    """Agreement of each other run with the reference, where they have units in common."""
    parts = parts_for(count_rows(reference.directory.units), len(reference.labels))
    found = {}
    with tempfile.TemporaryDirectory(prefix="cost-report-") as folder:
        dealt: dict[str, Dealt] = {}
        for run in runs:
            # Clips are matched by their numbers, which stand for other times at another step.
            if run.every_s == reference.every_s and run.has_classes_of(reference):
                dealt[run.name] = deal(run, Path(folder) / str(len(dealt)), parts)
        for run in runs:
            if run is reference or run.name not in dealt:
                continue
            pairs = joined(dealt[reference.name], dealt[run.name], shared)
            its = agreement(pairs, run.labels, clustered=run.has_segments)
            if its.units:
                found[run.name] = its
    return found


def _remarks(figures: Sequence[RunFigures], reference: ComparedRun) -> list[str]:
    """Notes that follow from the figures."""
    notes = []
    for each in figures:
        name = each.run.name
        if not each.run.has_classes_of(reference):
            notes.append(
                f"{name} has another head with other classes than {reference.name}, so their "
                f"labels are not compared, and no accuracy is."
            )
        elif each.run is not reference and each.agreement is None:
            notes.append(
                f"{name} and {reference.name} have no unit in common or differ in --clip-every, "
                f"so their labels are not compared."
            )
        if each.rows.incomplete:
            notes.append(
                f"{name} labeled {each.rows.incomplete:,} of the shared recordings with "
                f"segments missing, so their cost is too low."
            )
        if each.held.killed:
            notes.append(
                f"{each.held.killed} of {each.held.attempts} attempts of {name} did not end by "
                f"themselves; each counts up to its last row."
            )
        if each.cluster.idle_core_s < 0 or each.cluster.idle_gpu_s < 0:
            notes.append(
                f"{name} used more device or core time than its cluster had: processes shared "
                f"cores while their clocks ran, so its idle time is not known."
            )
        computed = each.run.computing
        if computed is not None and computed < _COMPUTING:
            notes.append(
                f"{name} shared its cores: its labelers computed for {100 * computed:.0f} % "
                f"of their device time, so its device time and its cost are too large. "
                f"Without a GPU, compare runs on idle machines."
            )
    if not any(each.run.r == 0 for each in figures):
        notes.append(f"No run is unpruned; {reference.name} is the reference.")
    elif reference.r or reference.is_adaptive:
        notes.append(f"No run is unpruned with all views; {reference.name} is the reference.")
    return notes
