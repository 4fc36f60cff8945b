"""Selects a few videos of a run for the gallery, the same ones each time."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest
from typing import Any

from pipeline.run.run_directory import RunDirectory
from pipeline.storage.parquet_files import parquet_file

# Kinds of videos, the ones to show first in front.
DISAGREES, WRONG, OTHER = KINDS = ("disagrees", "wrong", "other")

_COLUMNS = ["video_id", "status", "label", "ground_truth", "ground_truth_id", "unpruned_label"]
_ROWS_AT_ONCE = 10_000


class _Best:
    """The videos of each class that have the lowest digests, by kind: up to `count` of each."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._by_kind: dict[str, dict[str, list[tuple[bytes, str]]]] = {kind: {} for kind in KINDS}

    def add(self, row: dict[str, Any]) -> None:
        digest = hashlib.blake2b(row["video_id"].encode(), digest_size=8).digest()
        # Where the ground truth is known, it is what a video shows; else what it was taken for.
        name = row["label"] if row["ground_truth_id"] is None else row["ground_truth"]
        best = self._by_kind[_kind(row)].setdefault(name, [])
        insort(best, (digest, row["video_id"]))
        del best[self._count :]

    def of(self, kind: str) -> list[str]:
        """The first of each class, then the second of each, and so on."""
        ranked = sorted(
            (rank, *each) for best in self._by_kind[kind].values() for rank, each in enumerate(best)
        )
        return [video for _, _, video in ranked]


def chosen(run: RunDirectory, count: int) -> list[str]:
    """Up to `count` labeled videos of a finished run: the same ones for the same rows.

    At most a third each are videos for which the model without pruning says another label and
    videos whose label is wrong, as far as there are enough others; each kind is spread over the
    classes. Holds `count` videos per class and kind in memory.
    """
    best = _Best(count)
    for row in _labeled(run):
        best.add(row)
    third = max(1, count // 3)
    first = [best.of(kind)[:third] for kind in (DISAGREES, WRONG)]
    rest = [best.of(OTHER), *(best.of(kind)[third:] for kind in (WRONG, DISAGREES))]
    in_turn = chain.from_iterable(zip_longest(*first))
    order = (video for video in chain(in_turn, *rest) if video is not None)
    return list(islice(order, count))


def _kind(row: dict[str, Any]) -> str:
    if row["unpruned_label"] is not None and row["unpruned_label"] != row["label"]:
        return DISAGREES
    return (
        WRONG
        if row["ground_truth_id"] is not None and row["ground_truth"] != row["label"]
        else OTHER
    )


def _labeled(run: RunDirectory) -> Iterable[dict[str, Any]]:
    for row in _rows(run):
        if row["status"] == "ok":
            yield row


def _rows(run: RunDirectory) -> Iterator[dict[str, Any]]:
    for file in run.videos.files(".parquet"):
        with parquet_file(file) as parquet:
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
                yield from batch.to_pylist()
