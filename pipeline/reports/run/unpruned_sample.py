"""Agreement with the unpruned model on the shadow sample of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.formatting import digits
from pipeline.run.run_directory import RunDirectory
from pipeline.run.view_savings import all_views, is_pruned
from pipeline.statistics import Estimate, ratio, share

_RULE = "!" * 78


def unpruned_agreement(run: RunDirectory, content: dict[str, Any]) -> Estimate | None:
    """Share of the shadow sample that has the same label without pruning, with its 95 % interval.

    Of videos; of a timeline its clips, whose interval regards that those of one segment are alike.
    None where the run has no such sample, an estimate of count 0 where nothing fell into it.
    """
    if not content["identity"].get("shadow"):
        return None
    is_timeline = content["identity"]["protocol"].get("every_s") is not None
    agreeing, counts = [np.zeros(0)], [np.zeros(0)]
    for file in run.units.files(".parquet"):
        filesystem, path = file.filesystem()
        columns = ["label_id", "unpruned_label_id", *(_OF_VIEWS if is_timeline else ())]
        with pq.ParquetFile(path, filesystem=filesystem) as opened:
            part = opened.read(columns=columns)
        part = part.filter(pc.is_valid(part["unpruned_label_id"]))
        if not part.num_rows:
            continue
        hits, whole = _views(part) if is_timeline else _units(part)
        agreeing.append(hits)
        counts.append(whole)
    hits, whole = np.concatenate(agreeing), np.concatenate(counts)
    return ratio(hits, whole) if is_timeline else share(int(hits.sum()), len(hits))


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


def shadow_lines(content: dict[str, Any], agreement: Estimate | None) -> list[str]:
    """What the summary says of the sample; a loud warning where too few labels are kept."""
    if agreement is None:
        return []
    wanted, asked = content.get("min_agreement"), content["identity"]["shadow"]
    timeline = content["identity"]["protocol"].get("every_s") is not None
    what = "clips" if timeline else "videos"
    totals = content["totals"]
    count = totals["unpruned_views" if timeline else "unpruned_units"]
    if not count:
        lines = [f"Shadow:    nothing fell into the sample of {100 * asked:g} %; try a larger one"]
        return lines if wanted is None else [*lines, *_loud(content, "the agreement is not known")]
    extra = totals["unpruned_flops"] / totals["flops"] if totals["flops"] else 0.0
    said = f"{agreement.percent()} of {count:,} {what} have the same label {all_views(content)}"
    lines = [f"Shadow:    {said}; {digits(100 * extra)} % more FLOPs"]
    if wanted is not None and agreement.value < wanted:
        lines += _loud(
            content,
            f"{said}, below --min-agreement {100 * wanted:g} %, "
            + ("for certain" if agreement.high < wanted else "though the interval reaches it"),
            *advice(content),
        )
    return lines


def advice(content: dict[str, Any]) -> list[str]:
    """What to do where too few labels are kept, in lines."""
    if "early_exit" in content["identity"]:
        return [
            "An early-exit file with a larger --agreement (jobs/calibrate.py), or all views, in a",
            "new OUTPUT evaluates more views, and a smaller --r prunes less; jobs/cost_report.py",
            "names the videos on which two runs differ.",
        ]
    return [
        "A smaller --r (or --r 0) in a new OUTPUT prunes less; jobs/cost_report.py names the",
        "videos on which two runs differ.",
    ]


def culprit(content: dict[str, Any]) -> str:
    """What may have cost labels."""
    identity = content["identity"]
    pruned = ["pruning"] if is_pruned(identity) else []
    return " or ".join(pruned + (["early exit"] if "early_exit" in identity else []))


def _loud(content: dict[str, Any], problem: str, *advice: str) -> list[str]:
    warning = f"WARNING:   {culprit(content)} may hurt on this data: {problem}"
    return [_RULE, warning, *advice, _RULE]
