"""Reads the embeddings of a run as arrays, batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from workers.embeddings import Vectors, vectors_of
from workers.schema import EMBEDDING

_COLUMNS = ("video_id", "unit_id", "clip", "crop", "start_s", "end_s", EMBEDDING)

# 16,384 views of 768 channels are 25 MB.
BATCH_ROWS = 16_384


@dataclass(frozen=True)
class EmbeddingBatch:
    """The embeddings of n views.

    Attributes:
        video_ids: (n,) the videos.
        unit_ids: (n,) the units.
        clips: int32 (n,), clip of each view.
        crops: int32 (n,), crop of each view.
        start_s: float64 (n,), time of the clip's first frame in the video, seconds.
        end_s: float64 (n,), time of its last frame.
        vectors: float16 (n, d).
    """

    video_ids: list[str]
    unit_ids: list[str]
    clips: npt.NDArray[np.int32]
    crops: npt.NDArray[np.int32]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.vectors)


def read_embeddings(
    output: str | Path | Location,
    *,
    videos: Collection[str] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[EmbeddingBatch]:
    """Reads the embeddings of a finished run that was made with --embeddings.

    Args:
        output: directory or s3://bucket/prefix of the run.
        videos: ids of the videos whose views are read; None for all.
        batch_rows: views that are held in memory at once, at most.

    Yields:
        Views in the order of clips/: those of a unit stand together.

    Raises:
        UsageError: there is no finished run, or it stores no embeddings.
        ValueError: batch_rows is not positive.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be 1 or more; got {batch_rows}")
    place = output if isinstance(output, Location) else Location.of(str(output))
    run = RunDirectory(place)
    embedding_record(run)
    wanted = None if videos is None else pa.array(sorted(videos), pa.string())
    return _batches(run, wanted, batch_rows)


def embedding_record(run: RunDirectory) -> RunRecord:
    """The record of a finished run that stores embeddings.

    Raises:
        UsageError: there is no run, it is not finished, or it stores none.
    """
    run.check_labels()
    record = run.load()
    if record.identity.embeddings is None and (source := record.identity.relabeled):
        raise UsageError(
            f"{run.root.uri} stores no embeddings; those of {source}, which it was relabeled from, "
            "are the same; or relabel with --embeddings"
        )
    if record.identity.embeddings is None:
        raise UsageError(
            f"{run.root.uri} stores no embeddings; label with --embeddings, into another OUTPUT"
        )
    if not run.clips.files(".parquet"):
        raise UsageError(
            f"{run.root.uri} is not finished; its tables are written at the end. Run the same "
            "command again"
        )
    return record


def _batches(
    run: RunDirectory, wanted: pa.Array | None, batch_rows: int
) -> Iterator[EmbeddingBatch]:
    for file in run.clips.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(batch_rows, columns=list(_COLUMNS)):
                rows = pa.Table.from_batches([batch])
                if wanted is not None:
                    rows = rows.filter(pc.is_in(rows["video_id"], value_set=wanted))
                if len(rows):
                    yield _batch(rows)


def _batch(rows: pa.Table) -> EmbeddingBatch:
    return EmbeddingBatch(
        video_ids=rows["video_id"].to_pylist(),
        unit_ids=rows["unit_id"].to_pylist(),
        clips=rows["clip"].to_numpy().astype(np.int32),
        crops=rows["crop"].to_numpy().astype(np.int32),
        start_s=rows["start_s"].to_numpy().astype(np.float64),
        end_s=rows["end_s"].to_numpy().astype(np.float64),
        vectors=vectors_of(rows[EMBEDDING]),
    )
