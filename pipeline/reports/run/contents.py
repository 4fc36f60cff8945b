"""Figures of a run report, as report.json holds them.

run: what was labeled with what.
    output, input, since (earlier runs whose videos were left out), labeled_before (how many videos
    that were), architecture, checkpoint, r, pruning, protocol, decode (as --decode), precision,
    classes (how many), head (in place of the checkpoint's: name, the first digits of its
    fingerprint; fingerprint; file), relabeled (the run whose embeddings it classified), code,
    device, began (the first attempt), finished; units_are: "videos", or "segments" of recordings
    (--clip-every); labels_are, what has a label of its own: "videos", or "clips" ("views" where a
    clip has several crops).
totals
    videos, ok, failed, units, units_failed, incomplete (labeled recordings with failed segments),
    views, video_hours (of labeled videos), flops, flops_unpruned (of the same views), flops_share,
    device_s, on_gpu, decode_core_s, bytes_read, attempts, wall_s (of all attempts together).
early_exit: of a run with early exit.
    agreement (guaranteed), confidence, views_per_video (of the protocol), mean (evaluated views per
    video), counts (videos by evaluated views, from 1 on), share_of_all (share of the FLOPs of all
    views), share_of_unpruned (the same of the unpruned model's), budget.
accuracy: where the input gives labels.
    judged, correct, share, low, high.
shadow: where a sample was labeled unpruned too.
    asked (the share of units), compared (how it was labeled), culprit (what may have cost labels),
    count (of labels_are), agreeing, share, low, high, units, flops,
    device_s, min_agreement, is_below.
cost: where prices are given.
    currency, labeling, decoding, reading, work (their sum, without the shadow sample), shadow (the
    shadow sample's device time), cluster (the whole cluster for the wall time, and reading).
throughput
    spans, one per attempt: began, ended, and bins, from edges[i] to edges[i + 1], with units_per_s
    and video_hours_per_hour of what was labeled (times in seconds since the epoch); bottleneck,
    decoders, decoders_busy, labelers, labelers_busy.
failures: by reason.
    count of units, examples.
damaged
    videos that were labeled and lost frames, lost_frames, worst.
slowest: the videos that took most.
    decode (CPU time), device.
labels
    count (of labels_are), classes that occur, top: label, count, share, mean_score;
    low_confidence: below, count, share; scores: edges, counts.
drift: where --compare-to names a reference run.
    reference (its OUTPUT), problem (why it could not be read), notes (settings that differ),
    labels: reference and today (labels that were counted), distance (total variation: share, low,
    high), changed (classes whose share certainly changed), classes: label, change (appeared, grew,
    shrank, vanished; null: not certain), reference and today (shares), difference (low, high),
    p_value (adjusted for all classes); labels_problem (why there is none),
    population: held_out (videos), share of them of which a classifier tells the run (0.5: no
    shift), low, high; unseen: share, low, high (of count videos of a sample, those farther from the
    reference than 95 % of its own), more_share, more_low, more_high (less the reference's own
    share); yardstick: usual (median of its own distances), limit (their 95 % quantile), as 1 -
    cosine; farthest: distance, video_id, unit_id, start_s, label, nearest, nearest_label;
    embeddings_problem (why there are none of these four).
kept_tokens: where tokens were dropped.
    views that were counted, of_views, stages: grid (temporal positions, rows, columns), share,
    by_time, by_position.

Sums are exact: each time is rounded to a whole nanosecond before it is added. Times in `_s` are
seconds, FLOPs multiply-accumulates, intervals (`low`, `high`) two-sided, 95 %. What is not known is
null.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from pipeline.prices import Used
from pipeline.reports.early_exit.budget import budget_outcome
from pipeline.reports.run.drift import drift_figures
from pipeline.reports.run.kept import KeptFigures, read_kept
from pipeline.reports.run.labels import LOW_SCORE, SCORE_BINS, LabelFigures, read_view_labels
from pipeline.reports.run.spans import rates, span_of
from pipeline.reports.run.units import UnitFigures, read_units
from pipeline.reports.run.unpruned_sample import culprit, unpruned_agreement
from pipeline.reports.run.videos import VideoFigures, read_videos
from pipeline.run.attempt_rows import AttemptRows, Span
from pipeline.run.devices import devices_of, ran_on_gpu
from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.view_savings import ViewSavings, all_views
from pipeline.statistics import Estimate, share

_TOP_LABELS = 20
_HEAD_DIGITS = 12


def contents(run: RunDirectory, *, compare_to: str | None = None) -> dict[str, Any]:
    """Reads a run's tables and gives its figures; see above for their names.

    Args:
        run: the run.
        compare_to: OUTPUT of the reference run for drift; None for the one that run.json names.

    Raises:
        UsageError: run.json is not one of this program.
        OSError, pa.ArrowException: a table cannot be read.
    """
    record = run.load()
    described = _described(run, record)
    has_segments = described["units_are"] == "segments"
    videos, units = read_videos(run), read_units(run, record.attempts)
    labels = read_view_labels(run) if has_segments else videos.labels
    among = [] if units.by_attempt is None else units.by_attempt.spans()
    totals = _totals(record, videos, units, among)
    shadow = _shadow(run, record, has_segments=has_segments)
    reference = compare_to or record.compare_to
    return {
        "run": described,
        "totals": totals,
        "early_exit": _early_exit(run, record, videos),
        "accuracy": _accuracy(videos),
        "unknown_ground_truths": videos.unknown_ground_truths,
        "shadow": shadow,
        "cost": _cost(record, videos, units.by_attempt),
        "throughput": _throughput(record, units, among),
        "failures": _failures(units),
        "damaged": {
            "videos": videos.damaged,
            "lost_frames": videos.lost_frames,
            "worst": videos.worst["lost_frames"],
        },
        "slowest": {"decode": videos.worst["decode_ms"], "device": videos.worst["device_ms"]},
        "labels": _labels(labels),
        "drift": drift_figures(run, record, reference) if reference else None,
        "kept_tokens": _kept(read_kept(run, record.model.kept_grids)),
    }


def _described(run: RunDirectory, record: RunRecord) -> dict[str, Any]:
    identity, model = record.identity, record.model
    return {
        "output": run.root.uri,
        "input": identity.input,
        "since": list(identity.since),
        "labeled_before": record.listing.labeled_before,
        "architecture": model.architecture,
        "checkpoint": model.checkpoint,
        "r": identity.r,
        "pruning": dict(identity.pruning),
        "protocol": dataclasses.asdict(identity.protocol),
        "decode": identity.decode,
        "precision": identity.precision,
        "classes": len(model.labels),
        "units_are": identity.units_are,
        "labels_are": _labeled_things(identity),
        "head": _head(record),
        "relabeled": identity.relabeled,
        "code": record.environment.code,
        "device": None if record.device is None else dataclasses.asdict(record.device),
        "labeler_devices": devices_of(record),
        "began": record.attempts[0].began.isoformat() if record.attempts else None,
        "finished": record.finished and record.finished.isoformat(),
    }


def _head(record: RunRecord) -> dict[str, str | None] | None:
    """The head in place of the checkpoint's own: a short name for its content, and its file."""
    fingerprint = record.identity.head
    if fingerprint is None:
        return None
    file = record.flags.get("head")
    return {
        "name": fingerprint.removeprefix("sha256:")[:_HEAD_DIGITS],
        "fingerprint": fingerprint,
        "file": None if file is None else str(file),
    }


def _labeled_things(identity: Identity) -> str:
    if not identity.has_segments:
        return "videos"
    return "clips" if identity.protocol.crops == 1 else "views"


def _totals(
    record: RunRecord, videos: VideoFigures, units: UnitFigures, among: Sequence[Span]
) -> dict[str, Any]:
    dense = record.model.flops_per_view_unpruned
    unpruned = dense * videos.views if dense else None
    attempts = record.attempts
    return {
        "videos": videos.videos,
        "ok": videos.ok,
        "failed": videos.videos - videos.ok,
        "units": units.units,
        "units_failed": sum(units.failures.values()),
        "incomplete": videos.incomplete,
        "views": videos.views,
        "video_hours": videos.video_ns / 3.6e12,
        "flops": videos.flops,
        "flops_unpruned": unpruned,
        "flops_share": videos.flops / unpruned if unpruned else None,
        "device_s": videos.device_ns / 1e9,
        "on_gpu": ran_on_gpu(attempts[-1]) if attempts else None,
        "decode_core_s": videos.decode_ns / 1e9,
        "bytes_read": videos.bytes_read,
        "attempts": len(attempts) or None,
        "wall_s": sum(span.seconds for span in among) if attempts else None,
    }


def _early_exit(
    run: RunDirectory, record: RunRecord, videos: VideoFigures
) -> dict[str, Any] | None:
    early_exit = record.identity.early_exit
    savings = ViewSavings.of_run(record, videos=videos.ok, views=videos.views, flops=videos.flops)
    if savings is None or early_exit is None:
        return None
    found = budget_outcome(run, record)
    return {
        "agreement": early_exit.agreement,
        "confidence": early_exit.confidence,
        "views_per_video": savings.views_per_video,
        "mean": savings.mean,
        "counts": [videos.by_views[count] for count in range(1, savings.views_per_video + 1)],
        "share_of_all": savings.share_of_all,
        "share_of_unpruned": savings.share_of_unpruned,
        "budget": found and dataclasses.asdict(found) | {"said": found.said},
    }


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    bounds = {"share": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: value if math.isfinite(value) else None for name, value in bounds.items()}


def _accuracy(videos: VideoFigures) -> dict[str, Any] | None:
    if not videos.judged:
        return None
    judged = {"judged": videos.judged, "correct": videos.correct}
    return judged | _estimate(share(videos.correct, videos.judged))


def _shadow(run: RunDirectory, record: RunRecord, *, has_segments: bool) -> dict[str, Any] | None:
    estimate = unpruned_agreement(run, record)
    if estimate is None:
        return None
    totals, least = record.finished_totals, record.min_agreement
    return {
        "asked": record.identity.shadow_share,
        "compared": all_views(record.identity),
        "culprit": culprit(record),
        "count": totals.unpruned_views if has_segments else totals.unpruned_units,
        "agreeing": totals.unpruned_views_agreeing if has_segments else totals.unpruned_agreeing,
        **_estimate(estimate),
        "units": totals.unpruned_units,
        "flops": totals.unpruned_flops,
        "device_s": totals.unpruned_device_ms / 1000,
        "min_agreement": least,
        # Where nothing fell into the sample, the agreement that was asked for is not shown.
        "is_below": least is not None and not estimate.value >= least,
    }


def _cost(
    record: RunRecord, videos: VideoFigures, rows: AttemptRows | None
) -> dict[str, Any] | None:
    if record.prices is None or rows is None:
        return None
    prices = record.prices
    used = Used(
        labeling=rows.device_time(rows.device_ns),
        decode_s=videos.decode_ns / 1e9,
        bytes_read=float(videos.bytes_read),
        gets=float(videos.gets),
    )
    work = prices.work(used)
    return {
        "currency": prices.currency,
        "labeling": work.labeling,
        "decoding": work.decoding,
        "reading": work.reading,
        "work": work.total,
        "shadow": prices.device(rows.device_time(rows.shadow_ns)),
        "cluster": prices.cluster(rows.held(), used.bytes_read, used.gets),
    }


def _throughput(record: RunRecord, units: UnitFigures, among: Sequence[Span]) -> dict[str, Any]:
    stages = (None if record.totals is None else record.totals.stages) or {}
    found = rates(among or span_of(units.at), units.at, units.video_s)
    return {
        "spans": [
            {
                "began": float(each.edges[0]),
                "ended": float(each.edges[-1]),
                "bins": {
                    "edges": each.edges.tolist(),
                    "units_per_s": each.units.tolist(),
                    "video_hours_per_hour": each.video.tolist(),
                },
            }
            for each in found
        ],
        "bottleneck": stages.get("bottleneck"),
        "decoders": (stages.get("decode") or {}).get("actors"),
        "decoders_busy": stages.get("decoders_busy"),
        "labelers": (stages.get("label") or {}).get("actors"),
        "labelers_busy": stages.get("labelers_busy"),
    }


def _failures(units: UnitFigures) -> dict[str, Any]:
    return {
        reason: {"count": count, "examples": units.examples[reason]}
        for reason, count in sorted(units.failures.items(), key=lambda item: (-item[1], item[0]))
    }


def _labels(labels: LabelFigures) -> dict[str, Any]:
    count = labels.count
    ranked = sorted(labels.counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "count": count,
        "classes": len(labels.counts),
        "top": [
            {
                "label": label,
                "count": each,
                "share": each / count,
                "mean_score": labels.mean_score(label),
            }
            for label, each in ranked[:_TOP_LABELS]
        ],
        "low_confidence": {
            "below": LOW_SCORE,
            "count": labels.low,
            "share": labels.low / count if count else None,
        },
        "scores": {
            "edges": [number / SCORE_BINS for number in range(SCORE_BINS + 1)],
            "counts": labels.histogram.tolist(),
        },
    }


def _kept(kept: KeptFigures | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    return {
        "views": kept.views,
        "of_views": kept.of_views,
        "stages": [
            {
                "grid": list(stage.grid),
                "share": stage.share,
                "by_time": stage.by_time.tolist(),
                "by_position": stage.by_position.tolist(),
            }
            for stage in kept.stages
        ],
    }
