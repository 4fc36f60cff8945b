"""Reads one embedding per video, the mean of its views', batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.embeddings.read import EmbeddingBatch, embedding_record, read_embeddings
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.parquet_files import parquet_file
from workers.embeddings import Vectors, vectors_of
from workers.schema import EMBEDDING

BATCH_ROWS = 16_384

_Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoEmbeddings:
    """The mean embeddings of n videos.

    Attributes:
        video_ids: (n,) the videos.
        vectors: float16 (n, d).
    """

    video_ids: list[str]
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.video_ids)


def read_video_embeddings(
    run: RunDirectory, *, videos: Collection[str] | None = None, batch_rows: int = BATCH_ROWS
) -> Iterator[VideoEmbeddings]:
    """Reads the mean embedding of each video of a finished run.

    Takes them from videos/ where --video-embeddings stored them, and else computes the same means
    from clips/. Holds a batch in memory, and of a run with segments also the sums of all videos,
    since the clips of a recording are spread over clips/.

    Args:
        run: the run.
        videos: ids of the videos; None for all.
        batch_rows: videos, or views, that are held in memory at once.

    Raises:
        UsageError: there is no finished run, or it stores no embeddings.
    """
    identity = embedding_record(run).identity
    if identity.embeddings == "videos":
        return _stored(run, videos, batch_rows)
    batches = read_embeddings(run.root, videos=videos, batch_rows=batch_rows)
    return means_of(batches, spread=identity.has_segments)


def means_of(batches: Iterable[EmbeddingBatch], *, spread: bool) -> Iterator[VideoEmbeddings]:
    """The mean embedding of each video of some views, summed in float64.

    Args:
        batches: of views.
        spread: whether the views of a video may stand apart; else they follow each other.
    """
    if spread:
        yield from _means_of_spread(batches)
        return
    last: tuple[str, _Sums, int] | None = None
    for batch in batches:
        ids, sums, counts = _summed(batch)
        if last is not None:
            if last[0] == ids[0]:
                sums[0] += last[1]
                counts[0] += last[2]
            else:
                yield _means([last[0]], last[1][None], np.array([last[2]]))
        last = ids[-1], sums[-1], int(counts[-1])
        if len(ids) > 1:
            yield _means(ids[:-1], sums[:-1], counts[:-1])
    if last is not None:
        yield _means([last[0]], last[1][None], np.array([last[2]]))


def collected(batches: Iterable[VideoEmbeddings]) -> VideoEmbeddings:
    """All batches as one: 2 bytes a channel, and the ids."""
    ids: list[str] = []
    parts = []
    for batch in batches:
        ids += batch.video_ids
        parts.append(batch.vectors)
    return VideoEmbeddings(ids, np.concatenate(parts) if parts else np.zeros((0, 0), np.float16))


def _stored(
    run: RunDirectory, videos: Collection[str] | None, batch_rows: int
) -> Iterator[VideoEmbeddings]:
    wanted = None if videos is None else pa.array(sorted(videos), pa.string())
    for file in run.videos.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(batch_rows, columns=["video_id", EMBEDDING]):
                rows = batch.filter(pc.is_valid(batch[EMBEDDING]))
                if wanted is not None:
                    rows = rows.filter(pc.is_in(rows["video_id"], value_set=wanted))
                if len(rows):
                    yield VideoEmbeddings(rows["video_id"].to_pylist(), vectors_of(rows[EMBEDDING]))


def _means_of_spread(batches: Iterable[EmbeddingBatch]) -> Iterator[VideoEmbeddings]:
    sums: dict[str, tuple[_Sums, int]] = {}
    for batch in batches:
        for video, part, count in zip(*_summed(batch), strict=True):
            known = sums.get(video)
            before = (0.0, 0) if known is None else known
            sums[video] = (before[0] + part, before[1] + int(count))
    ids = list(sums)
    for start in range(0, len(ids), BATCH_ROWS):
        part_ids = ids[start : start + BATCH_ROWS]
        found = [sums[each] for each in part_ids]
        yield _means(part_ids, np.stack([a for a, _ in found]), np.array([b for _, b in found]))


def _summed(batch: EmbeddingBatch) -> tuple[list[str], _Sums, npt.NDArray[np.int64]]:
    """The videos of views that follow each other, the sums of their views, and their number."""
    ids = batch.video_ids
    starts = [0, *(place for place in range(1, len(ids)) if ids[place] != ids[place - 1])]
    sums = np.add.reduceat(batch.vectors.astype(np.float64), starts, axis=0)
    return [ids[place] for place in starts], sums, np.diff([*starts, len(ids)])


def _means(ids: list[str], sums: _Sums, counts: npt.NDArray[np.int64]) -> VideoEmbeddings:
    return VideoEmbeddings(ids, (sums / counts[:, None]).astype(np.float16))
