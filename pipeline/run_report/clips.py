"""Labels of a timeline's views and their agreement, from clips/."""

from __future__ import annotations

import pyarrow.compute as pc

from pipeline.run_directory import RunDirectory
from pipeline.run_report.labels import LabelFigures
from pipeline.run_report.rows import column_batches
from pipeline.run_report.shadow import Shadow
from pipeline.tables import CLIPS_SCHEMA

_NAMES = ("unit_id", "label", "score", "label_id", "shadow_label_id")


def read_view_labels(run: RunDirectory, shadow: Shadow) -> LabelFigures:
    """Reads the labels of all views once, and adds those of the shadow sample to `shadow`."""
    figures = LabelFigures()
    for batch in column_batches(run.clips, CLIPS_SCHEMA, _NAMES):
        labelled = batch.filter(pc.is_valid(batch["label"]))
        figures.add(labelled["label"], labelled["score"])
        shadow.add_views(batch)
    return figures
