"""What a run says of the units of its sample: outcomes per label, scores, hours, costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.questions.sample import ids_of
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_tables import read_tables
from workers.schema import UNITS_SCHEMA

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.bytes_]

_COLUMNS = ("unit_id", "video_id", "status", "label_id", "scores", "duration_s", "views")


@dataclass(frozen=True)
class Outcomes:
    """n units, in the order of their ids, which is random.

    A unit that failed has no label: its outcomes, scores and hours are 0.

    Attributes:
        unit_ids: (n,), ascending.
        video_ids: (n,) the videos.
        ok: (n,) whether the unit was labeled.
        found: (n, labels) 1 where the unit has the label; of a segment the share of its clips.
        clips: (n, labels) how many clips of the unit have the label; of a whole video as `found`.
        scores: (n, labels) mean probability of the label.
        hours: (n,) length of the unit.
    """

    unit_ids: Ids
    video_ids: npt.NDArray[np.object_]
    ok: npt.NDArray[np.bool_]
    found: Floats
    clips: Floats
    scores: Floats
    hours: Floats

    def __len__(self) -> int:
        return len(self.unit_ids)

    def take(self, rows: npt.NDArray[np.integer]) -> Outcomes:
        """These rows."""
        return Outcomes(**{name: values[rows] for name, values in vars(self).items()})


def outcomes(run: RunDirectory, labels: Sequence[int], *, dense: bool) -> Outcomes:
    """The outcomes of the labeled units of a run.

    Args:
        run: a run that may hold a sample alone.
        labels: numbers of the classes that are asked for.
        dense: whether clips have labels of their own.

    Raises:
        OSError, pa.ArrowException: its tables cannot be read.
    """
    columns = [name for name in _COLUMNS if name != "views"]
    columns += ["views.list.element.label_id"] if dense else []
    parts = [
        _of_table(table, labels, dense=dense)
        for table in read_tables(run.units, UNITS_SCHEMA, columns)
    ]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Outcomes.__dataclass_fields__
    }
    return Outcomes(**joined).take(np.argsort(joined["unit_ids"], kind="stable"))


def unlabeled(rows: pa.Table) -> Outcomes:
    """The units of rows of a manifest, without labels."""
    unit_ids = ids_of(rows["unit_id"])
    order = np.argsort(unit_ids, kind="stable")
    none = np.zeros((len(order), 0))
    return Outcomes(
        unit_ids=unit_ids[order],
        video_ids=np.array(rows["video_id"].to_pylist(), dtype=object)[order],
        ok=np.zeros(len(order), np.bool_),
        found=none,
        clips=none,
        scores=none,
        hours=np.zeros(len(order)),
    )


def _of_table(table: pa.Table, labels: Sequence[int], *, dense: bool) -> Outcomes:
    ok = np.asarray(pc.equal(table["status"], "ok"))
    chosen = np.asarray(pc.fill_null(table["label_id"], -1))
    found = (chosen[:, None] == np.array(labels)).astype(np.float64)
    clips = found
    if dense:
        clips, counts = _clips(table["views"].combine_chunks(), labels)
        found = np.divide(clips, counts[:, None], out=np.zeros_like(clips), where=clips > 0)
    return Outcomes(
        unit_ids=ids_of(table["unit_id"]),
        video_ids=np.array(table["video_id"].to_pylist(), dtype=object),
        ok=ok,
        found=found,
        clips=clips,
        scores=label_scores(table["scores"].combine_chunks(), labels),
        hours=np.where(ok, np.asarray(pc.fill_null(table["duration_s"], 0.0)), 0.0) / 3600,
    )


def _clips(views: pa.ListArray, labels: Sequence[int]) -> tuple[Floats, Floats]:
    """(n, labels) clips with each label, and (n,) clips."""
    parents = np.asarray(pc.list_parent_indices(views)).astype(np.int64)
    chosen = np.asarray(views.flatten().field("label_id"))
    counts = np.zeros((len(views), len(labels)))
    for column, label in enumerate(labels):
        counts[:, column] = np.bincount(parents[chosen == label], minlength=len(views))
    return counts, np.bincount(parents, minlength=len(views)).astype(np.float64)


def label_scores(scores: pa.ListArray, labels: Sequence[int]) -> Floats:
    """(n, labels) probabilities of the labels; 0 where there are none."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(scores), 0)).astype(np.int64)
    values = scores.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    starts = np.cumsum(lengths) - lengths
    made = np.zeros((len(scores), len(labels)))
    have = lengths > 0
    for column, label in enumerate(labels):
        made[have, column] = values[starts[have] + label]
    return made
