"""Agreement with the unpruned model on the shadow sample of a run."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.formatting import digits
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.view_savings import all_views
from pipeline.statistics import Estimate, ratio, share
from pipeline.storage.parquet_files import parquet_file

_RULE = "!" * 78


def unpruned_agreement(run: RunDirectory, record: RunRecord) -> Estimate | None:
    """Share of the shadow sample that has the same label without pruning, with its 95 % interval.

    Counts videos, or clips with --clip-every; their interval is clustered by segment.
    None where the run has no such sample, an estimate of count 0 where nothing fell into it.
    """
    if not record.identity.shadow_share:
        return None
    has_segments = record.identity.has_segments
    agreeing, counts = [np.zeros(0)], [np.zeros(0)]
    for file in run.units.files(".parquet"):
        columns = ["label_id", "unpruned_label_id", *(_OF_VIEWS if has_segments else ())]
        with parquet_file(file) as opened:
            part = opened.read(columns=columns)
        part = part.filter(pc.is_valid(part["unpruned_label_id"]))
        if not part.num_rows:
            continue
        hits, whole = _views(part) if has_segments else _units(part)
        agreeing.append(hits)
        counts.append(whole)
    hits, whole = np.concatenate(agreeing), np.concatenate(counts)
    return ratio(hits, whole) if has_segments else share(int(hits.sum()), len(hits))


_OF_VIEWS = ("views.list.element.label_id", "views.list.element.unpruned_label_id")


def _units(part: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(units,) 1 where the labels agree, and ones."""
    hits = np.asarray(pc.equal(part["label_id"], part["unpruned_label_id"]), np.float64)
    return hits, np.ones(len(hits))


def _views(part: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(units,) views that agree, and views."""
    views = part["views"].combine_chunks()
    flat = pc.list_flatten(views)
    same = pc.equal(pc.struct_field(flat, "label_id"), pc.struct_field(flat, "unpruned_label_id"))
    units = np.asarray(pc.list_parent_indices(views))
    weights = np.asarray(same, np.float64)
    return np.bincount(units, weights, len(part)), np.bincount(units, minlength=len(part)) * 1.0


def shadow_lines(record: RunRecord, agreement: Estimate | None) -> list[str]:
    """What the summary says of the sample; a loud warning where too few labels are kept."""
    if agreement is None:
        return []
    wanted, asked = record.min_agreement, record.identity.shadow_share
    has_segments = record.identity.has_segments
    what = "clips" if has_segments else "videos"
    totals = record.finished_totals
    count = totals.unpruned_views if has_segments else totals.unpruned_units
    if not count:
        lines = [f"Shadow:    nothing fell into the sample of {100 * asked:g} %; try a larger one"]
        return lines if wanted is None else [*lines, *_loud(record, "the agreement is not known")]
    extra = totals.unpruned_flops / totals.flops if totals.flops else 0.0
    same = f"{agreement.percent()} of {count:,} {what} have the same label"
    said = f"{same} {all_views(record.identity)}"
    lines = [f"Shadow:    {said}; {digits(100 * extra)} % more FLOPs"]
    if wanted is not None and agreement.value < wanted:
        lines += _loud(
            record,
            f"{said}, below --min-agreement {100 * wanted:g} %, "
            + ("for certain" if agreement.high < wanted else "though the interval reaches it"),
            *advice(record),
        )
    return lines


def advice(record: RunRecord) -> list[str]:
    """What to do where too few labels are kept, in lines."""
    if record.identity.early_exit is not None:
        return [
            "An early-exit file with a larger --agreement (jobs/calibrate.py), or all views, in a",
            "new OUTPUT evaluates more views, and a smaller --r prunes less; jobs/cost_report.py",
            "names the videos on which two runs differ.",
        ]
    return [
        "A smaller --r (or --r 0) in a new OUTPUT prunes less; jobs/cost_report.py names the",
        "videos on which two runs differ.",
    ]


def culprit(record: RunRecord) -> str:
    """What may have cost labels."""
    identity = record.identity
    pruned = ["pruning"] if identity.is_pruned else []
    return " or ".join(pruned + (["early exit"] if identity.early_exit is not None else []))


def _loud(record: RunRecord, problem: str, *advice: str) -> list[str]:
    warning = f"WARNING:   {culprit(record)} may hurt on this data: {problem}"
    return [_RULE, warning, *advice, _RULE]
