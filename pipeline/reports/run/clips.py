"""Labels of a timeline's views, from clips/."""

from __future__ import annotations

import pyarrow.compute as pc

from pipeline.reports.run.labels import LabelFigures
from pipeline.reports.run.rows import column_batches
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import CLIPS_SCHEMA


def read_view_labels(run: RunDirectory) -> LabelFigures:
    """Reads the labels of all views once."""
    figures = LabelFigures()
    for batch in column_batches(run.clips, CLIPS_SCHEMA, ("label", "score")):
        labeled = batch.filter(pc.is_valid(batch["label"]))
        figures.add(labeled["label"], labeled["score"])
    return figures
