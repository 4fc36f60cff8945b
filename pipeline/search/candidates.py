"""Reads the videos that may be labeled next: their embeddings, and how certain their labels are."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.embeddings.cosine import Floats
from pipeline.embeddings.read import read_embeddings
from pipeline.embeddings.video_means import collected, read_video_embeddings
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.parquet_files import parquet_file
from sta.heads import LinearHead
from workers.embeddings import Vectors

# Videos that are chosen among: half of them the least certain of the run, half of them random.
POOL = 20_000

_COLUMNS = ("video_id", "uri", "status", "label", "label_id", "score", "top_scores")


@dataclass(frozen=True)
class Prediction:
    """The label of a video.

    Attributes:
        label: its most probable class.
        label_id: index of that class.
        score: probability of that class.
        margin: difference to the next one, 0 to 1; for independent classes how far the least
            certain of them is from either answer.
    """

    label: str
    label_id: int
    score: float
    margin: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """Videos that may be chosen, and those that have labels.

    Attributes:
        video_ids: (n,) those that may be chosen.
        vectors: float16 (n, d), their mean embeddings.
        predictions: (n,) their labels.
        labeled: float16 (m, d), mean embeddings of those that have labels.
        available: number of videos without labels, of which n are looked at.
    """

    video_ids: list[str]
    vectors: Vectors
    predictions: list[Prediction]
    labeled: Vectors
    available: int

    @property
    def margins(self) -> Floats:
        """(n,) margins of the predictions."""
        return np.array([each.margin for each in self.predictions], np.float32)


def read_candidates(
    run: RunDirectory,
    *,
    labeled: Collection[str],
    head: LinearHead | None = None,
    pool: int = POOL,
) -> Candidates:
    """Reads the labeled videos of a run that may be chosen.

    Args:
        run: a finished run that stores embeddings.
        labeled: ids and uris of videos that have labels already.
        head: a head whose predictions count instead of the run's; it must fit the embeddings.
        pool: number of videos to choose among; of a larger run half of them are those with the
            smallest margins in the run, or random ones if there is a head, and half random ones.
    """
    known = {row["video_id"] for row in _rows(run) if _is_in(row, labeled)}
    available = sum(not _is_in(row, labeled) for row in _rows(run))
    free = (row for row in _rows(run) if not _is_in(row, labeled))
    random = heapq.nsmallest(pool // 2 if head is None else pool, free, key=_digest)
    chosen = {row["video_id"]: row for row in random}
    if head is None:
        free = (row for row in _rows(run) if not _is_in(row, labeled))
        others = heapq.nsmallest(
            pool - len(chosen), (row for row in free if row["video_id"] not in chosen), key=_order
        )
        chosen |= {row["video_id"]: row for row in others}
    means = collected(read_video_embeddings(run, videos=set(chosen) | known))
    predictions = (
        {video: _prediction(row) for video, row in chosen.items()}
        if head is None
        else _predictions(run, head, set(chosen))
    )
    is_free = np.array([video in predictions for video in means.video_ids], bool)
    ids = [video for video, free in zip(means.video_ids, is_free, strict=True) if free]
    return Candidates(
        video_ids=ids,
        vectors=means.vectors[is_free],
        predictions=[predictions[video] for video in ids],
        labeled=means.vectors[~is_free],
        available=available,
    )


def _rows(run: RunDirectory) -> Iterator[dict[str, Any]]:
    """The rows of videos with labels by the model."""
    for file in run.videos.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(10_000, columns=list(_COLUMNS)):
                for row in batch.to_pylist():
                    if row["status"] == "ok":
                        yield row


def _is_in(row: Mapping[str, Any], labeled: Collection[str]) -> bool:
    return row["video_id"] in labeled or row["uri"] in labeled


def _digest(row: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(row["video_id"].encode(), digest_size=8).digest()


def _margin(scores: Sequence[float] | None) -> float:
    """The margin of the most probable classes, best first; 1 where there are none."""
    if not scores:
        return 1.0
    return float(scores[0] - (scores[1] if len(scores) > 1 else 0.0))


def _order(row: Mapping[str, Any]) -> tuple[float, bytes]:
    return _margin(row["top_scores"]), _digest(row)


def _prediction(row: Mapping[str, Any]) -> Prediction:
    return Prediction(row["label"], row["label_id"], row["score"], _margin(row["top_scores"]))


def _predictions(
    run: RunDirectory, head: LinearHead, videos: Collection[str]
) -> dict[str, Prediction]:
    """Predictions of a head: its probabilities, averaged over the views of each video."""
    sums: dict[str, Any] = {}
    for batch in read_embeddings(run.root, videos=videos):
        scores = head.probabilities(batch.vectors).astype(np.float64)
        for video, each in zip(batch.video_ids, scores, strict=True):
            total, count = sums.get(video, (0.0, 0))
            sums[video] = (total + each, count + 1)
    return {video: _of_head(total / count, head) for video, (total, count) in sums.items()}


def _of_head(scores: Any, head: LinearHead) -> Prediction:
    best = int(scores.argmax())
    if head.kind == "sigmoid":
        margin = float(np.abs(2 * scores - 1).min())
    else:
        margin = _margin(np.sort(scores)[::-1][:2].tolist())
    return Prediction(head.labels[best], best, float(scores[best]), margin)
