"""From a finished sweep run to a policy, and to what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.early_exit.cross_validation import HeldOut, Resampled, held_out, resample
from pipeline.early_exit.early_exit_file import EarlyExitFile
from pipeline.early_exit.fitting import Promise, Trace
from pipeline.early_exit.margins import Ints
from pipeline.early_exit.sample import Sample, read_sample
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.statistics import Estimate, mean, share


@dataclass(frozen=True)
class Accuracy:
    """Labels against the ground truth, of the videos that have one.

    Attributes:
        all_views: share that is right by all views.
        policy: share that is right by the views that the policy looks at.
        difference: the second less the first, of the same videos.
    """

    all_views: Estimate
    early_exit: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Calibration:
    """A policy and what speaks for it.

    Attributes:
        policy: fitted on all videos of the sample.
        promise: what it is to keep.
        architecture: of the model.
        views: of the protocol.
        used: (n,) views that the policy looks at, of each video of the sample.
        failed: videos of the sample that could not be labeled.
        held_out: what the same fitting on one half did with the other; None where a half is too
            few for the promise.
        resampled: the same for many random halves.
        accuracy: None where no ground truth is given.
    """

    early_exit: EarlyExitFile
    promise: Promise
    architecture: str
    views: int
    used: Ints
    failed: int
    held_out: HeldOut | None
    resampled: Resampled | None
    accuracy: Accuracy | None

    @property
    def flops_share(self) -> float:
        """FLOPs of the policy over those of all views."""
        return self.early_exit.point.views / self.views


def calibrate(run: RunDirectory, variant: str, promise: Promise) -> Calibration:
    """Fits a policy on every video of a finished sweep run.

    Args:
        run: the sweep.
        variant: name of the pruning that the policy is for.
        promise: what it is to keep.

    Raises:
        UsageError: the videos are too few for the promise, or there is but one view of each.
    """
    sample = read_sample(run, variant)
    if sample.looks.views < 2:
        raise UsageError(
            "the protocol looks at each video once, so that there is no view to leave out; choose "
            "one of several views by --views, such as 5x3"
        )
    videos = sample.looks.videos
    failed = f" ({sample.failed:,} failed)" if sample.failed else ""
    promise.check(videos, f"{videos:,} of the sample were labeled{failed}")
    content = run.load()
    identity = content["identity"]
    trace = Trace.of(sample.looks)
    number = trace.chosen(promise)
    early_exit = EarlyExitFile(
        model=identity["model"],
        labels=identity["labels"],
        pruning=identity["variants"][variant],
        protocol=identity["protocol"],
        agreement=promise.agreement,
        confidence=promise.confidence,
        threshold=float(trace.thresholds[number]),
        videos=videos,
        source=identity["input"],
        curve=trace.curve(promise.confidence),
    )
    return Calibration(
        early_exit=early_exit,
        promise=promise,
        architecture=content["model"]["architecture"],
        views=sample.looks.views,
        used=trace.views[number],
        failed=sample.failed,
        held_out=held_out(trace, sample.fitting_half, promise),
        resampled=resample(trace, promise),
        accuracy=_accuracy(sample, trace.views[number]),
    )


def _accuracy(sample: Sample, used: Ints) -> Accuracy | None:
    known = np.flatnonzero(sample.ground_truths >= 0)
    if not len(known):
        return None
    ground_truths, labels = sample.ground_truths[known], sample.looks.labels[known]
    by_all = labels[:, -1] == ground_truths
    by_early_exit = labels[np.arange(len(known)), used[known] - 1] == ground_truths
    return Accuracy(
        all_views=share(int(by_all.sum()), len(known)),
        early_exit=share(int(by_early_exit.sum()), len(known)),
        difference=mean(by_early_exit.astype(np.float64) - by_all.astype(np.float64)),
    )
