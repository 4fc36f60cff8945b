"""Reads the embeddings of labeled videos: one pass over the run, keeping these videos alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.embeddings.read import EmbeddingBatch
from pipeline.errors import UsageError
from pipeline.heads.left_out import NO_VIEWS, LeftOut
from pipeline.heads.samples import LabeledFeatures
from sta.text import displayed


def features_of(
    batches: Iterable[EmbeddingBatch], videos: Sequence[str], left_out: LeftOut
) -> LabeledFeatures:
    """The features of some videos, whatever the order of the batches.

    Memory is that of one batch and of the videos' views.

    Args:
        batches: of the run; views of other videos are passed over.
        videos: ids, sorted.
        left_out: receives videos without views.

    Raises:
        UsageError: a feature is not finite, or no video has views.
    """
    number = {video: place for place, video in enumerate(videos)}
    parts: list[tuple[np.ndarray, ...]] = []
    for batch in batches:
        owners = np.array([number.get(each, -1) for each in batch.video_ids], np.int64)
        kept = np.flatnonzero(owners >= 0)
        if len(kept):
            columns = (owners, batch.start_s, batch.clips, batch.crops, batch.vectors)
            parts.append(tuple(each[kept] for each in columns))
    if not parts:
        raise UsageError(
            f"none of the {len(videos):,} labeled videos has embeddings in the run, such as "
            f"{displayed(videos[0])}"
        )
    owners, start_s, clips, crops, views = map(np.concatenate, zip(*parts, strict=True))
    order = np.lexsort((crops, clips, start_s, owners))
    owners, views = owners[order], views[order]
    _check_finite(views, owners, videos)
    counts = np.bincount(owners, minlength=len(videos))
    for place in np.flatnonzero(counts == 0).tolist():
        left_out.add(NO_VIEWS, videos[place])
    present = np.flatnonzero(counts).tolist()
    starts = np.concatenate([[0], np.cumsum(counts[present])])
    return LabeledFeatures(tuple(videos[each] for each in present), views, starts)


def _check_finite(views: np.ndarray, owners: np.ndarray, videos: Sequence[str]) -> None:
    bad = np.unique(owners[~np.isfinite(views).all(axis=1)])
    if len(bad):
        raise UsageError(
            f"{len(bad):,} of the labeled videos have embeddings that are not finite, such as "
            f"{displayed(videos[int(bad[0])])}; label the run anew with --precision float32"
        )
