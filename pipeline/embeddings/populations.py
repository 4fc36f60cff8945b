"""The labels and embeddings of a finished run, as drift compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.embeddings.label_shift import LabelCounts
from pipeline.embeddings.sampling import VideoSample
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.video_embeddings import embedding_sums
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from sta.heads import FEATURE_DTYPE
from workers.embeddings import Vectors, vectors_of
from workers.schema import EMBEDDING

_COLUMNS = ("video_id", "status", "label")

# 256 videos of 15 views of 1,408 channels are 11 MB.
_ROWS = 256
_ROWS_OF_MEANS = 8192


@dataclass(frozen=True)
class LabeledUnits:
    """n labeled units of a run.

    Attributes:
        video_ids: (n,) their videos.
        unit_ids: (n,) the units; of a run of whole videos, the videos.
        labels: (n,) their labels.
        starts: (n,) where each segment begins in its recording, seconds; None for whole videos.
        vectors: (n, d) float16, the mean of the embeddings of each; None if these were not read.
    """

    video_ids: list[str]
    unit_ids: list[str]
    labels: list[str]
    starts: list[float | None]
    vectors: Vectors | None = None

    def finite(self) -> LabeledUnits:
        """Those whose embedding is finite: float16 ends at 65,504."""
        if self.vectors is None:
            return self
        kept = np.flatnonzero(np.isfinite(self.vectors).all(axis=1)).tolist()
        return LabeledUnits(
            video_ids=[self.video_ids[row] for row in kept],
            unit_ids=[self.unit_ids[row] for row in kept],
            labels=[self.labels[row] for row in kept],
            starts=[self.starts[row] for row in kept],
            vectors=self.vectors[kept],
        )


@dataclass
class Population:
    """What drift is told of a run, in bounded memory.

    Attributes:
        has_segments: whether units are segments of recordings; then the labels are those of the
            sample, one of each recording.
        sample: of its videos.
    """

    has_segments: bool
    sample: VideoSample = field(default_factory=VideoSample)
    _labels: LabelCounts = field(default_factory=LabelCounts)

    def add(self, units: LabeledUnits) -> None:
        """Adds labeled units of the run."""
        if not self.has_segments:
            self._labels.add(units.video_ids, units.labels)
        if self.has_segments or units.vectors is not None:
            some = units.finite()
            self.sample.add(some.video_ids, some.unit_ids, some.labels, some.vectors)

    @property
    def labels(self) -> LabelCounts:
        """The labels of independent videos."""
        if not self.has_segments:
            return self._labels
        units, counts = self.sample.units(), LabelCounts()
        counts.add([unit.video_id for unit in units], [unit.label for unit in units])
        return counts


def labeled_units(
    run: RunDirectory, record: RunRecord, *, embeddings: bool
) -> Iterator[LabeledUnits]:
    """Reads the labeled units of a finished run, a few at a time.

    Of whole videos, videos/ is read where it holds all that is asked for; else units/, whose
    embeddings are those of each view.

    Args:
        run: the run.
        record: of the run.
        embeddings: whether to read them too; the run must store them.

    Raises:
        OSError, pa.ArrowException: a table cannot be read.
    """
    whole = not record.identity.has_segments
    if whole and (not embeddings or record.identity.embeddings == "videos"):
        more = [EMBEDDING] if embeddings else []
        for rows in _rows(run.videos, [*_COLUMNS, *more], _ROWS_OF_MEANS):
            ids = rows["video_id"].to_pylist()
            vectors = vectors_of(rows[EMBEDDING]) if embeddings else None
            labels = rows["label"].to_pylist()
            yield LabeledUnits(ids, ids, labels, [None] * len(ids), vectors)
        return
    more = [f"views.list.element.{EMBEDDING}"] if embeddings else []
    for rows in _rows(run.units, [*_COLUMNS, "unit_id", "start_s", *more], _ROWS):
        yield LabeledUnits(
            rows["video_id"].to_pylist(),
            (rows["video_id"] if whole else rows["unit_id"]).to_pylist(),
            rows["label"].to_pylist(),
            rows["start_s"].to_pylist(),
            _means(rows, record.model.channels) if embeddings else None,
        )


def _rows(folder: Location, columns: list[str], count: int) -> Iterator[pa.Table]:
    for file in folder.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(count, columns=columns):
                rows = pa.Table.from_batches([batch])
                rows = rows.filter(pc.equal(rows["status"], "ok"))
                if len(rows):
                    yield rows


def _means(units: pa.Table, channels: int) -> Vectors:
    counts = np.asarray(pc.list_value_length(units["views"]), np.float64)
    return (embedding_sums(units, channels) / counts[:, None]).astype(FEATURE_DTYPE)
