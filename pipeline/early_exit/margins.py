"""Margins and labels after each view of the videos of a sweep."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.run.run_directory import RunDirectory
from pipeline.run.sweep_tables import read_sweep
from workers.inference.early_exit import EarlyExit, margins

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

_UNKNOWN = -1


@dataclass(frozen=True)
class ViewMargins:
    """Margins and labels of n videos after each view, in evaluation order.

    Attributes:
        margins: (n, views) float64, top-1/top-2 margin of the mean probabilities so far.
        labels: (n, views) int64, the class of the largest mean probability; ties go to the lower.
    """

    margins: Floats
    labels: Ints

    def __post_init__(self) -> None:
        if self.margins.shape != self.labels.shape or self.margins.ndim != 2:
            raise ValueError(
                f"margins and labels must both be (videos, views); got {self.margins.shape} and "
                f"{self.labels.shape}"
            )

    @property
    def videos(self) -> int:
        """How many videos."""
        return len(self.margins)

    @property
    def views(self) -> int:
        """Views of each."""
        return int(self.margins.shape[1])

    @property
    def agreeing(self) -> Bools:
        """(n, views) whether the label after each view is that of all views."""
        return np.asarray(self.labels == self.labels[:, -1:])

    def of(self, chosen: Bools | Ints) -> ViewMargins:
        """The same of some of the videos."""
        return ViewMargins(self.margins[chosen], self.labels[chosen])

    @classmethod
    def of_probabilities(cls, probabilities: Floats, order: Sequence[int]) -> ViewMargins:
        """From the probabilities of every view.

        Args:
            probabilities: (n, views, classes), clip by clip and crop by crop.
            order: numbers of the views in evaluation order.
        """
        count, views, _ = probabilities.shape
        if sorted(order) != list(range(views)):
            raise ValueError(f"order must name each of {views} views once; got {list(order)}")
        known = np.empty((count, views))
        for number, ordered in enumerate(probabilities[:, list(order)]):
            known[number] = margins(ordered)
        labels = np.empty((count, views), np.int64)
        for seen in range(1, views + 1):
            # Added up clip by clip, as the labeling job does, so that equal sums stay equal.
            evaluated = probabilities[:, sorted(order[:seen])]
            labels[:, seen - 1] = evaluated.mean(axis=1, dtype=np.float64).argmax(axis=1)
        return cls(known, labels)

    @classmethod
    def joined(cls, parts: Sequence[ViewMargins]) -> ViewMargins:
        """Several of them, concatenated."""
        return cls(
            np.concatenate([part.margins for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )


def views_used(known: ViewMargins, threshold: float) -> Ints:
    """(n,) views evaluated at this threshold."""
    seen = np.tile(np.arange(1, known.views + 1), known.videos)
    stops = EarlyExit(threshold).should_stop_each(
        known.margins.ravel(), seen=seen, views=known.views
    )
    return np.asarray(stops.reshape(known.margins.shape).argmax(axis=1) + 1)


@dataclass(frozen=True)
class CalibrationSample:
    """Videos whose views were all evaluated, in the order of their unit ids.

    Attributes:
        video_ids: (n,)
        view_margins: under the pruning of the calibration.
        ground_truths: (n,) class index, -1 where none is given or the model has no such class.
        order: numbers of the views in evaluation order.
        failed: videos that could not be labeled; left out.
        decode_s: mean CPU time of fetching and decoding all clips of a video, seconds.
        label_s: mean device time of all views of a video, seconds.
    """

    video_ids: tuple[str, ...]
    view_margins: ViewMargins
    ground_truths: Ints
    order: tuple[int, ...]
    failed: int
    decode_s: float
    label_s: float

    @property
    def fitting_half(self) -> Bools:
        """(n,) whether a video is fitted on when half of them are held out.

        A hash of the video's id decides, so that a video is in the same half of every sample.
        """
        return np.array([_is_even(video_id) for video_id in self.video_ids], np.bool_)

    def matched(self, reference: CalibrationSample) -> CalibrationSample:
        """The same for the videos of another sample, in its order.

        A video that failed in this sample alone has no label, so it keeps that of the other one at
        no threshold.
        """
        mine = {video_id: number for number, video_id in enumerate(self.video_ids)}
        rows = np.array([mine.get(video_id, -1) for video_id in reference.video_ids], np.int64)
        found = rows >= 0
        shape = (len(rows), self.view_margins.views)
        known, labels = np.zeros(shape), np.full(shape, _UNKNOWN)
        known[found] = self.view_margins.margins[rows[found]]
        labels[found] = self.view_margins.labels[rows[found]]
        return replace(
            self,
            video_ids=reference.video_ids,
            view_margins=ViewMargins(known, labels),
            ground_truths=reference.ground_truths,
            failed=reference.failed,
        )


def read_calibration_sample(run: RunDirectory, variant: str) -> CalibrationSample:
    """The sample of a finished sweep.

    Args:
        run: the sweep.
        variant: name of the pruning in the sweep.

    Raises:
        UsageError: the folder holds no finished sweep.
    """
    record = run.load()
    protocol, labels = record.identity.protocol, record.model.labels
    views = protocol.views_in_order
    order = tuple(clip * protocol.crops + crop for clip, crop in views)
    numbers = {label: number for number, label in enumerate(labels)}
    unit_ids: list[str] = []
    video_ids: list[str] = []
    ground_truths: list[int] = []
    parts = [ViewMargins(np.empty((0, len(order))), np.empty((0, len(order)), np.int64))]
    failed = 0
    decode_ms = label_ms = 0.0
    for chunk in read_sweep(run):
        unit_ids += chunk.unit_ids
        video_ids += chunk.video_ids
        ground_truths += [
            numbers.get(ground_truth or "", _UNKNOWN) for ground_truth in chunk.ground_truths
        ]
        parts.append(ViewMargins.of_probabilities(chunk.probabilities[variant], order))
        failed += chunk.failed
        decode_ms += float(chunk.decode_ms.sum())
        label_ms += float(chunk.device_ms[variant].sum())
    by_unit_id = np.argsort(np.array(unit_ids, dtype=np.str_))
    return CalibrationSample(
        video_ids=tuple(video_ids[number] for number in by_unit_id),
        view_margins=ViewMargins.joined(parts).of(by_unit_id),
        ground_truths=np.array(ground_truths, np.int64)[by_unit_id],
        order=order,
        failed=failed,
        decode_s=decode_ms / 1e3 / max(1, len(unit_ids)),
        label_s=label_ms / 1e3 / max(1, len(unit_ids)),
    )


def _is_even(video_id: str) -> bool:
    return hashlib.blake2b(video_id.encode(), digest_size=1).digest()[0] % 2 == 0
