"""Calibrates early exit: from a finished sweep to a threshold and the evidence for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pipeline.early_exit.cross_validation import HeldOut, Resampled, held_out, resample
from pipeline.early_exit.file import EarlyExitFile
from pipeline.early_exit.fitting import AgreementGuarantee, Trace
from pipeline.early_exit.margins import CalibrationSample, Ints, read_calibration_sample
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.statistics import Estimate, mean, share


@dataclass(frozen=True)
class EarlyExitAccuracy:
    """Top-1 accuracy on the videos with a ground truth.

    Attributes:
        all_views: share that is correct by all views.
        early_exit: share that is correct with early exit.
        difference: the second less the first, of the same videos.
    """

    all_views: Estimate
    early_exit: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Calibration:
    """A fitted threshold and the evidence for it.

    Attributes:
        file: the early-exit file, fitted on all videos of the sample.
        guarantee: what the threshold meets.
        architecture: of the model.
        views: of the protocol.
        used: (n,) evaluated views of each video of the sample.
        failed: videos of the sample that could not be labeled.
        held_out: the same fit on one half, evaluated on the other; None where a half is too few
            for the guarantee.
        resampled: the same for many random halves.
        accuracy: None where no ground truth is given.
    """

    file: EarlyExitFile
    guarantee: AgreementGuarantee
    architecture: str
    views: int
    used: Ints
    failed: int
    held_out: HeldOut | None
    resampled: Resampled | None
    accuracy: EarlyExitAccuracy | None

    @property
    def flops_share(self) -> float:
        """FLOPs with early exit over those of all views."""
        return self.file.point.views / self.views


def calibrate(run: RunDirectory, variant: str, guarantee: AgreementGuarantee) -> Calibration:
    """Fits the threshold on every video of a finished sweep.

    Args:
        run: the sweep.
        variant: name of the pruning in the sweep.
        guarantee: what the threshold must meet.

    Raises:
        UsageError: the videos are too few for the guarantee, or each has a single view.
    """
    sample = read_calibration_sample(run, variant)
    if sample.view_margins.views < 2:
        raise UsageError(
            "the protocol has one view per video, so early exit has nothing to save; choose "
            "several views by --views, such as 5x3"
        )
    videos = sample.view_margins.videos
    failed = f" ({sample.failed:,} failed)" if sample.failed else ""
    guarantee.check(videos, f"{videos:,} of the sample were labeled{failed}")
    record = run.load()
    identity = record.identity
    assert identity.precision is not None
    trace = Trace.of(sample.view_margins)
    number = trace.chosen(guarantee)
    file = EarlyExitFile(
        model=identity.model,
        labels=identity.labels,
        pruning=dict(identity.variants[variant]),
        protocol=dataclasses.asdict(identity.protocol),
        precision=identity.precision,
        agreement=guarantee.agreement,
        confidence=guarantee.confidence,
        threshold=float(trace.thresholds[number]),
        videos=videos,
        source=identity.input,
        curve=trace.curve(guarantee.confidence),
    )
    return Calibration(
        file=file,
        guarantee=guarantee,
        architecture=record.model.architecture,
        views=sample.view_margins.views,
        used=trace.views[number],
        failed=sample.failed,
        held_out=held_out(trace, sample.fitting_half, guarantee),
        resampled=resample(trace, guarantee),
        accuracy=_accuracy(sample, trace.views[number]),
    )


def _accuracy(sample: CalibrationSample, used: Ints) -> EarlyExitAccuracy | None:
    known = np.flatnonzero(sample.ground_truths >= 0)
    if not len(known):
        return None
    ground_truths, labels = sample.ground_truths[known], sample.view_margins.labels[known]
    all_views = labels[:, -1] == ground_truths
    early_exit = labels[np.arange(len(known)), used[known] - 1] == ground_truths
    return EarlyExitAccuracy(
        all_views=share(int(all_views.sum()), len(known)),
        early_exit=share(int(early_exit.sum()), len(known)),
        difference=mean(early_exit.astype(np.float64) - all_views.astype(np.float64)),
    )
