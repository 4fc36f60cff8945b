"""Drift figures of a run report: today's run against a reference run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pipeline.embeddings.drift import Farthest, Yardstick, population_shift
from pipeline.embeddings.features import feature_spec
from pipeline.embeddings.label_shift import ClassShift, LabelShift, label_shift
from pipeline.embeddings.populations import Population, labeled_units
from pipeline.errors import UsageError
from pipeline.run.differences import differences
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.statistics import Estimate
from pipeline.storage.location import Location

# Classes that certainly changed, and where none did, those with the largest differences.
SHOWN = 50
SHOWN_UNCERTAIN = 5
FARTHEST = 10

# What decides labels and features besides the videos; a difference is told, not refused.
_SETTINGS = (
    *("model", "head", "shape", "protocol", "pruning", "precision", "decoder", "decode"),
    *("early_exit", "budget"),
)
_PLACES = ("in the reference", "in this run")


def drift_figures(run: RunDirectory, record: RunRecord, compare_to: str) -> dict[str, Any]:
    """The entry `drift` of report.json, see `contents`. Whatever is wrong with the reference is
    told in it and costs nothing else.

    Args:
        run: today's run, with its tables.
        record: of this run.
        compare_to: OUTPUT of the reference run.
    """
    found: dict[str, Any] = {
        **{"reference": compare_to, "problem": None, "notes": []},
        **{"labels": None, "labels_problem": None},
        **{"population": None, "unseen": None, "yardstick": None, "farthest": []},
        "embeddings_problem": None,
    }
    try:
        reference = RunDirectory(Location.of(compare_to))
        old = _finished(reference, run)
        return found | {"reference": reference.root.uri} | _compared(reference, old, run, record)
    except Exception as error:
        # A reference may be anything: a night's report must not depend on it.
        reason = " ".join(str(error).split()) or type(error).__name__
        return found | {"problem": reason}


def _finished(reference: RunDirectory, run: RunDirectory) -> RunRecord:
    """The record of the reference.

    Raises:
        UsageError: there is no finished run, or it is today's.
    """
    if reference.root.uri.rstrip("/") == run.root.uri.rstrip("/"):
        raise UsageError("--compare-to names this run itself; name an earlier run's OUTPUT")
    reference.check_labels()
    if not reference.success.exists():
        raise UsageError(f"the run in {reference.root.uri} is not finished")
    return reference.load()


def _compared(
    reference: RunDirectory, old: RunRecord, run: RunDirectory, new: RunRecord
) -> dict[str, Any]:
    labels_problem, embeddings_problem = _labels_problem(old, new), _embeddings_problem(old, new)
    found: dict[str, Any] = {
        "notes": _notes(old, new),
        "labels_problem": labels_problem,
        "embeddings_problem": embeddings_problem,
    }
    if labels_problem and embeddings_problem:
        return found
    embeddings = embeddings_problem is None
    before, now = (Population(each.identity.has_segments) for each in (old, new))
    for units in labeled_units(reference, old, embeddings=embeddings):
        before.add(units)
    yardstick = Yardstick(before.sample) if embeddings and len(before.sample) else None
    farthest = None if yardstick is None else Farthest(yardstick, FARTHEST)
    for units in labeled_units(run, new, embeddings=embeddings):
        now.add(units)
        if farthest is not None:
            some = units.finite()
            assert some.vectors is not None
            farthest.add(some.video_ids, some.unit_ids, some.labels, some.starts, some.vectors)
    if labels_problem is None:
        if before.labels.total and now.labels.total:
            found["labels"] = _labels(label_shift(before.labels, now.labels))
        else:
            found["labels_problem"] = "a run has no labeled video"
    if yardstick is not None and farthest is not None:
        found |= _embeddings(before, now, yardstick, farthest)
    elif embeddings:
        found["embeddings_problem"] = "the reference has no labeled video"
    return found


def _labels_problem(old: RunRecord, new: RunRecord) -> str | None:
    """Why the labels cannot be compared; None if they can."""
    if old.identity.has_segments != new.identity.has_segments:
        return _different_units(old, new)
    if set(old.model.labels) != set(new.model.labels):
        both = len({*old.model.labels} & {*new.model.labels})
        return (
            f"the reference labels with {len(old.model.labels):,} classes and this run with "
            f"{len(new.model.labels):,}, of which {both:,} are the same"
        )
    return None


def _different_units(old: RunRecord, new: RunRecord) -> str:
    return (
        f"units of the reference are {old.identity.units_are}, and those of this run "
        f"{new.identity.units_are}"
    )


def _embeddings_problem(old: RunRecord, new: RunRecord) -> str | None:
    """Why the embeddings cannot be compared; None if they can."""
    missing = [
        name
        for name, record in (("the reference", old), ("this run", new))
        if record.identity.embeddings is None
    ]
    if missing:
        return f"{' and '.join(missing)} stores no embeddings (--embeddings)"
    if old.identity.has_segments != new.identity.has_segments:
        return _different_units(old, new)
    there, here = feature_spec(old), feature_spec(new)
    for name in there.incomparable(here):
        return (
            f"the embeddings of the reference are of another model: {there.architecture}, and "
            f"{here.architecture} in this run ({name} differs)"
        )
    return None


def _notes(old: RunRecord, new: RunRecord) -> list[str]:
    there, here = (
        {name: value for name, value in record.identity.to_json().items() if name in _SETTINGS}
        for record in (old, new)
    )
    return differences(there, here, places=_PLACES)


def _labels(shift: LabelShift) -> dict[str, Any]:
    certain = len(shift.certain)
    return {
        "reference": shift.reference,
        "today": shift.today,
        "distance": _estimate(shift.distance),
        "changed": certain,
        "classes": [_class(each, shift) for each in shift.classes[: certain or SHOWN_UNCERTAIN]],
    }


def _class(each: ClassShift, shift: LabelShift) -> dict[str, Any]:
    difference = _estimate(each.difference)
    return {
        "label": each.label,
        "change": each.change if each.is_certain else None,
        "reference": each.reference / shift.reference,
        "today": each.today / shift.today,
        "difference": difference.pop("share"),
        **difference,
        "p_value": each.p_value,
    }


def _embeddings(
    before: Population, now: Population, yardstick: Yardstick, farthest: Farthest
) -> dict[str, Any]:
    shift, unseen = population_shift(before.sample, now.sample), yardstick.unseen(now.sample)
    return {
        "population": shift and _estimate(shift) | {"held_out": shift.count},
        "unseen": unseen
        and {
            **_estimate(unseen.share),
            **{f"more_{name}": value for name, value in _estimate(unseen.difference).items()},
            "count": unseen.share.count,
        },
        "yardstick": {"usual": _known(yardstick.usual), "limit": _known(yardstick.limit)},
        "farthest": [dataclasses.asdict(unit) for unit in farthest.units()],
    }


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    bounds = {"share": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: _known(value) for name, value in bounds.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
