"""Calibrates early exit: from finished sweeps to a threshold, a decode mode, and the evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.early_exit.cross_validation import HeldOut, Resampled, held_out, resample
from pipeline.early_exit.file import EarlyExitFile, OperatingPoint
from pipeline.early_exit.fitting import AgreementGuarantee, Trace
from pipeline.early_exit.margins import CalibrationSample, Ints, read_calibration_sample
from pipeline.errors import UsageError
from pipeline.run.devices import ran_on_gpu
from pipeline.run.differences import differences
from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.statistics import Estimate, mean, share
from workers.decoding.types import DECODE_MODES

EXACT, FAST = DECODE_MODES

DecodeChoice = Literal["auto", "exact", "fast"]

# What a GPU costs in cores, to weigh device time against decoding: infra/prices.yaml.
_CORES_PER_GPU = 60.0


@dataclass(frozen=True)
class EarlyExitAccuracy:
    """Top-1 accuracy on the videos with a ground truth.

    Attributes:
        all_views: share that is correct by all views, decoded exactly.
        early_exit: share that is correct with early exit and the chosen decode mode.
        difference: the second less the first, of the same videos.
    """

    all_views: Estimate
    early_exit: Estimate
    difference: Estimate


@dataclass(frozen=True)
class DecodeModeFit:
    """Early exit fitted under one decode mode, against exact decoding of all views.

    Attributes:
        mode: "exact" or "fast".
        all_views: agreement without early exit.
        chosen: the threshold that meets the guarantee with the fewest views; None where even all
            views do not meet it.
        decode_s: mean CPU time of fetching and decoding all clips of a video, seconds.
        label_s: mean device time of all views of a video, seconds.
    """

    mode: str
    all_views: OperatingPoint
    chosen: OperatingPoint | None
    decode_s: float
    label_s: float


@dataclass(frozen=True)
class Calibration:
    """A fitted threshold and the evidence for it.

    Attributes:
        file: the early-exit file, fitted on all videos of the sample.
        guarantee: what threshold and decode mode meet together.
        tested: what the threshold of each decode mode is tested for.
        architecture: of the model.
        views: of the protocol.
        used: (n,) evaluated views of each video of the sample.
        failed: videos of the sample that could not be labeled.
        modes: every decode mode that was measured.
        held_out: the same fit on one half, evaluated on the other; None where a half does not
            support the guarantee.
        resampled: the same for many random halves.
        accuracy: None where no ground truth is given.
    """

    file: EarlyExitFile
    guarantee: AgreementGuarantee
    tested: AgreementGuarantee
    architecture: str
    views: int
    used: Ints
    failed: int
    modes: tuple[DecodeModeFit, ...]
    held_out: HeldOut | None
    resampled: Resampled | None
    accuracy: EarlyExitAccuracy | None

    @property
    def flops_share(self) -> float:
        """FLOPs with early exit over those of all views."""
        return self.file.point.views / self.views


@dataclass(frozen=True)
class _Candidate:
    """One decode mode with the videos of the reference."""

    fit: DecodeModeFit
    sample: CalibrationSample
    trace: Trace
    number: int | None


def tested_guarantee(guarantee: AgreementGuarantee, decode: DecodeChoice) -> AgreementGuarantee:
    """What each decode mode is tested for: with two to choose from, half the error is allowed."""
    return guarantee.each_of(2 if decode == "auto" else 1)


def calibrate(
    runs: Mapping[str, RunDirectory],
    variant: str,
    guarantee: AgreementGuarantee,
    *,
    decode: DecodeChoice = "exact",
    all_views: bool = False,
) -> Calibration:
    """Fits the threshold on every video of finished sweeps.

    The label to keep is that of all views, decoded exactly. With `decode="auto"` the file gets the
    decode mode that costs less at its threshold.

    Args:
        runs: the sweeps of the same videos by decode mode: "exact", and "fast" unless `decode` is
            "exact".
        variant: name of the pruning in the sweeps.
        guarantee: what the threshold must meet.
        decode: the decode mode, or "auto".
        all_views: whether to evaluate all views, so that only the decode mode is tested.

    Raises:
        UsageError: the videos are too few for the guarantee, each has a single view, which leaves
            nothing to save where decoding is exact, or no threshold meets the guarantee.
    """
    reference = read_calibration_sample(runs[EXACT], variant)
    if reference.view_margins.views < 2 and decode == EXACT:
        raise UsageError(
            "the protocol has one view per video, so early exit has nothing to save; choose "
            "several views by --views, such as 5x3, or measure fast decoding by --decode fast"
        )
    videos = reference.view_margins.videos
    failed = f" ({reference.failed:,} failed)" if reference.failed else ""
    tested = tested_guarantee(guarantee, decode)
    tested.check(videos, f"{videos:,} of the sample were labeled{failed}")
    record = runs[EXACT].load()
    for run in runs.values():
        _check_same(record.identity, run)
    candidates = [
        _candidate(mode, read_calibration_sample(run, variant), reference, tested, all_views)
        for mode, run in runs.items()
    ]
    on_gpu = bool(record.attempts) and ran_on_gpu(record.attempts[-1])
    best = _chosen(candidates, guarantee, decode, on_gpu=on_gpu)
    identity, number = record.identity, best.number or 0
    assert identity.precision is not None
    file = EarlyExitFile(
        model=identity.model,
        labels=identity.labels,
        pruning=dict(identity.variants[variant]),
        protocol=dataclasses.asdict(identity.protocol),
        precision=identity.precision,
        decoder=identity.decoder,
        decode=best.fit.mode,
        agreement=guarantee.agreement,
        confidence=guarantee.confidence,
        threshold=float(best.trace.thresholds[number]),
        videos=videos,
        source=identity.input,
        curve=best.trace.curve(tested.confidence),
    )
    return Calibration(
        file=file,
        guarantee=guarantee,
        tested=tested,
        architecture=record.model.architecture,
        views=reference.view_margins.views,
        used=best.trace.views[number],
        failed=reference.failed,
        modes=tuple(each.fit for each in candidates),
        held_out=held_out(best.trace, reference.fitting_half, tested),
        resampled=resample(best.trace, tested),
        accuracy=_accuracy(reference, best.sample, best.trace.views[number]),
    )


def _check_same(identity: Identity, run: RunDirectory) -> None:
    """Refuses a sweep that differs from that of exact decoding in more than the decode mode."""
    other = dataclasses.replace(run.load().identity, decode=EXACT).to_json()
    differing = differences(identity.to_json(), other, places=("decoded exactly", "decoded fast"))
    if differing:
        raise UsageError(
            f"the sweep in {run.root.uri} is of other settings than that of exact decoding: "
            f"{'; '.join(differing)}. Delete it, or name another folder by --sweep"
        )


def _candidate(
    mode: str,
    sample: CalibrationSample,
    reference: CalibrationSample,
    tested: AgreementGuarantee,
    all_views: bool,
) -> _Candidate:
    matched = sample.matched(reference)
    trace = Trace.of(matched.view_margins, reference.view_margins.labels[:, -1])
    if all_views:
        trace = trace.first(1)
    number = trace.chosen(tested)
    curve = trace.curve(tested.confidence)
    fit = DecodeModeFit(
        mode=mode,
        all_views=curve[0],
        chosen=None if number is None else curve[number],
        decode_s=sample.decode_s,
        label_s=sample.label_s,
    )
    return _Candidate(fit, matched, trace, number)


def _chosen(
    candidates: list[_Candidate],
    guarantee: AgreementGuarantee,
    decode: DecodeChoice,
    *,
    on_gpu: bool,
) -> _Candidate:
    """The candidate that is asked for, or the one that costs less where either may be."""
    allowed = [each for each in candidates if decode in ("auto", each.fit.mode)]
    found = [each for each in allowed if each.number is not None]
    if not found:
        point = allowed[0].fit.all_views
        raise UsageError(
            f"with --decode {decode}, {100 * point.agreement:.2f} % of the videos keep the label "
            f"of exact decoding by all views ({100 * point.low:.2f} % at least), and "
            f"{100 * guarantee.agreement:g} % are to be guaranteed; take --decode exact, a smaller "
            f"--agreement or more videos"
        )
    weight = _CORES_PER_GPU if on_gpu else 1.0

    def core_s(each: _Candidate) -> float:
        fit = each.fit
        assert fit.chosen is not None
        return fit.decode_s + weight * fit.label_s * fit.chosen.views / fit.all_views.views

    return min(found, key=core_s)


def _accuracy(
    reference: CalibrationSample, sample: CalibrationSample, used: Ints
) -> EarlyExitAccuracy | None:
    known = np.flatnonzero(reference.ground_truths >= 0)
    if not len(known):
        return None
    ground_truths = reference.ground_truths[known]
    all_views = reference.view_margins.labels[known, -1] == ground_truths
    early_exit = sample.view_margins.labels[known, used[known] - 1] == ground_truths
    return EarlyExitAccuracy(
        all_views=share(int(all_views.sum()), len(known)),
        early_exit=share(int(early_exit.sum()), len(known)),
        difference=mean(early_exit.astype(np.float64) - all_views.astype(np.float64)),
    )
