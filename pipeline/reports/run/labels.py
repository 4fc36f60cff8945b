"""Distribution of labels and their scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.run.rows import column_batches
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import CLIPS_SCHEMA

SCORE_BINS = 20

# Below it, the other classes together are more probable than the label.
LOW_SCORE = 0.5


@dataclass
class LabelFigures:
    """Counts over labeled videos or views.

    Attributes:
        count: how many.
        counts: of each label.
        score_sums: sum of the scores of each label.
        low: those with a score below LOW_SCORE.
        histogram: (SCORE_BINS,) counts by score, from 0 to 1; each bin holds its lower edge.
    """

    count: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    score_sums: dict[str, float] = field(default_factory=dict)
    low: int = 0
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))

    def add(self, labels: pa.Array, scores: pa.Array) -> None:
        """Adds labels (string) and their scores (float32), one each."""
        self.count += len(labels)
        table = pa.table({"label": labels, "score": scores.cast(pa.float64())})
        sums = table.group_by("label").aggregate([("score", "count"), ("score", "sum")])
        for row in sums.to_pylist():
            self.counts[row["label"]] += row["score_count"]
            before = self.score_sums.get(row["label"], 0.0)
            self.score_sums[row["label"]] = before + row["score_sum"]
        numbers = np.asarray(table["score"])
        self.low += int((numbers < LOW_SCORE).sum())
        places = np.clip((numbers * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
        self.histogram += np.bincount(places, minlength=SCORE_BINS)

    def mean_score(self, label: str) -> float:
        """The mean score of those with this label."""
        return self.score_sums[label] / self.counts[label]


def read_view_labels(run: RunDirectory) -> LabelFigures:
    """Labels of all views of a run with segments, from clips/."""
    figures = LabelFigures()
    for batch in column_batches(run.clips, CLIPS_SCHEMA, ("label", "score")):
        labeled = batch.filter(pc.is_valid(batch["label"]))
        figures.add(labeled["label"], labeled["score"])
    return figures
