"""Populations with references and proxy scores, made or read from two runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet

_COLUMNS = ["video_id", "status", "label_id", "top_ids", "top_scores"]


@dataclass(frozen=True)
class Question:
    """A population of which a share is asked for.

    Attributes:
        name: of its proxy.
        within: half width at which to stop.
        reference: (units,) 0 or 1.
        proxy: (units,) 0 to 1.
    """

    name: str
    within: float
    reference: np.ndarray
    proxy: np.ndarray

    @property
    def share(self) -> float:
        """What is asked for."""
        return float(self.reference.mean())


def made(units: int, share: float, within: float) -> Iterator[Question]:
    """Questions on made populations, with proxies from good to adversarial."""
    draw = np.random.default_rng(round(1e6 * share))
    reference = np.zeros(units)
    reference[: round(share * units)] = 1
    for agreement in (0.99, 0.97, 0.9, 0.8):
        yield Question(
            f"labels, {agreement:.0%} agree", within, reference, _labels(draw, reference, agreement)
        )
    signal = draw.normal(size=units) + 3 * reference
    odds = share / (1 - share) * np.exp(3 * signal - 4.5)
    yield Question("probabilities", within, reference, odds / (1 + odds))
    yield Question("useless", within, reference, (draw.random(units) < share) * 1.0)
    yield Question("reversed", within, reference, 1 - reference)
    hidden = reference * (draw.random(units) < 0.1)
    yield Question("10 % of positives at 0", within, reference, reference - hidden)


def _labels(draw: np.random.Generator, reference: np.ndarray, agreement: float) -> np.ndarray:
    """Labels with as many errors of one kind as of the other, as far as there are positives."""
    wrong = round((1 - agreement) * len(reference))
    positives, negatives = np.flatnonzero(reference), np.flatnonzero(reference == 0)
    missed = min(wrong // 2, len(positives) // 2)
    proxy = reference.copy()
    proxy[draw.choice(positives, missed, replace=False)] = 0
    proxy[draw.choice(negatives, wrong - missed, replace=False)] = 1
    return proxy


def of_runs(reference: str, proxy: str, share: float, within: float, units: int | None) -> Question:
    """The question for a set of labels whose share in `reference` is nearest to `share`.

    Args:
        reference, proxy: OUTPUT folders of two runs over the same videos.
        units: draws so many videos with replacement, as a larger archive of the same kind; None
            for the videos as they are.
    """
    labels, tops, scores = _joined(_videos(reference), _videos(proxy))
    chosen = _label_set(labels, share)
    truth = np.isin(labels, chosen) * 1.0
    inside = np.isin(tops, chosen)
    guess = np.clip((scores * inside).sum(axis=1), 0.0, 1.0)
    if units is not None:
        rows = np.random.default_rng(1).integers(len(truth), size=units)
        truth, guess = truth[rows], guess[rows]
    agree = float(((guess > 0.5) == (truth > 0.5)).mean())
    name = f"runs, {len(chosen)} labels, {agree:.1%} agree"
    return Question(name, within, truth, guess)


def _videos(output: str) -> pa.Table:
    folder = RunDirectory(Location.of(output)).videos
    parts = [
        read_parquet(file, _COLUMNS).replace_schema_metadata(None)
        for file in folder.files(".parquet")
    ]
    if not parts:
        raise SystemExit(f"{output} has no videos/*.parquet; name the OUTPUT of a finished run")
    table = pa.concat_tables(parts)
    return table.filter(pc.equal(table["status"], "ok")).sort_by("video_id")


def _joined(reference: pa.Table, proxy: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference labels (n,), the proxy's top labels (n, k) and their scores (n, k)."""
    one, other = (
        np.asarray(table["video_id"].to_pylist(), dtype=object) for table in (reference, proxy)
    )
    both, left, right = np.intersect1d(one, other, return_indices=True)
    if not len(both):
        raise SystemExit("the two runs have no labeled video in common")
    labels = reference["label_id"].to_numpy()[left]
    tops, scores = (
        np.array(proxy[name].combine_chunks().to_pylist())[right]
        for name in ("top_ids", "top_scores")
    )
    return labels, tops, scores.astype(np.float64)


def _label_set(labels: np.ndarray, share: float) -> np.ndarray:
    """Labels, largest that fit first, whose videos add up to at most about `share` of all."""
    ids, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    chosen, total = [], 0
    for place in order:
        if total + counts[place] <= 1.1 * share * len(labels):
            chosen.append(ids[place])
            total += counts[place]
    return np.array(chosen or [ids[order[-1]]])
